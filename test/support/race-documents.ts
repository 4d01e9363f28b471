/** The documents that two processes tokenise at once. */
export const raceDocuments = () =>
  Array.from({ length: 300 }, (_, i) => ({
    text: `Document ${i}: ${'it was the best of times, it was the worst of times. '.repeat(20)}`,
  }));
