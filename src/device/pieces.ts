/** How buffers larger than one binding are cut. */

/** Largest power of two within a limit, in bytes: places in pieces are found by shifting. */
export function pieceBytes(limit: number): number {
  return 2 ** Math.floor(Math.log2(limit));
}

/** How many bindings a buffer takes where one holds at most `limit` bytes. */
export function piecesOf(bytes: number, limit: number): number {
  return bytes <= limit ? 1 : Math.ceil(bytes / pieceBytes(limit));
}
