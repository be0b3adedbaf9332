/** Byte classes of RFC 9110 section 5.6 and RFC 9112, as tables. */

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const HTAB = 9;
export const COLON = 58;

/** tchar: what methods and header names are made of. */
export const tokenByte = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  tokenByte[char.charCodeAt(0)] = 1;
}

/** What a header value may hold: visible bytes, obs-text, space and tab; never NUL, CR or other controls. */
export const valueByte = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) if (byte === HTAB || (byte >= SP && byte !== 127)) valueByte[byte] = 1;

/** What a request target may hold: no space, no controls, and no fragment, which servers strip or keep as they like. */
export const targetByte = new Uint8Array(256);
for (let byte = 0x21; byte < 256; byte++) if (byte !== 127 && byte !== 0x23) targetByte[byte] = 1;

/** What a host and port are made of (RFC 3986 section 3.2), save the comma: a list of hosts is none. */
export const hostByte = new Uint8Array(256);
for (const char of "!$%&'()*+-.:;=[]_~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  hostByte[char.charCodeAt(0)] = 1;
}

/** Value of a hexadecimal digit, 255 for any other byte. */
export const hexValue = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit++) {
  hexValue[digit.toString(16).charCodeAt(0)] = digit;
  hexValue[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

/** Whether the bytes from `start` spell a lower-case name, in any case; the length must have been compared. */
export function spells(buffer: Buffer, start: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const byte = buffer[start + i]!;
    const lower = byte >= 65 && byte <= 90 ? byte + 32 : byte;
    if (lower !== name.charCodeAt(i)) return false;
  }
  return true;
}
