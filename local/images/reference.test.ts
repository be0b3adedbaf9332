import { describe, expect, it } from 'vitest';
import { familiarName, normalizeName } from './reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('the name of an image', () => {
  it.each([
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.29', 'docker.io/library/nginx:1.29'],
    ['shop/web', 'docker.io/shop/web:latest'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/library/nginx:1', 'docker.io/library/nginx:1'],
    ['localhost/web', 'localhost/web:latest'],
    ['localhost:5000/web:2', 'localhost:5000/web:2'],
    ['registry.example/a/b/c:v1.2-rc_3', 'registry.example/a/b/c:v1.2-rc_3'],
    ['[::1]:5000/web', '[::1]:5000/web:latest'],
    [`nginx@${digest}`, `docker.io/library/nginx@${digest}`],
    [`nginx:1.29@${digest}`, `docker.io/library/nginx@${digest}`],
  ])('%s is %s in full', (text, full) => {
    expect(normalizeName(text)).toBe(full);
    expect(normalizeName(familiarName(full))).toBe(full);
  });

  it.each([
    '',
    ':',
    'Nginx',
    'nginx:',
    'nginx:a b',
    'a//b',
    '/a',
    'a/',
    '../a',
    'nginx@sha256:12',
    `nginx@${digest}@${digest}`,
    'none\n',
    'registry.example/',
  ])('is none of %j', (text) => {
    expect(normalizeName(text)).toBeUndefined();
  });
});
