/** What a peer did that ends the connection. */
export interface Breach {
  /** Of RFC 9113 section 7. */
  code: number;
  message: string;
}
