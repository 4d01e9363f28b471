/** Cuts text into lines of at most `width` characters, between words where there are any. */
export function wrapText(text: string, width: number): string[] {
  const most = Math.max(10, width);
  const lines: string[] = [];
  let line = '';
  const push = (): void => {
    if (line !== '') lines.push(line);
    line = '';
  };
  for (const word of text.split(' ')) {
    // By code points: half of a character is none.
    const characters = [...word];
    if (line !== '' && line.length + 1 + word.length > most) push();
    if (word.length <= most) line = line === '' ? word : `${line} ${word}`;
    else {
      push();
      while (characters.length > most) lines.push(characters.splice(0, most).join(''));
      line = characters.join('');
    }
  }
  push();
  return lines;
}
