/**
 * WGSL: runs `body` for name = start, start + stride, … below end, four times per turn. The loads of a turn do not wait
 * for one another, and software adapters, for whom a turn costs more than an addition, take half the time.
 */
export function unrolled(name: string, start: string, end: string, stride: number, body: string): string {
  const turn = [0, 1, 2, 3].map((k) => `  { let ${name} = ${name}_next + ${k * stride}u; ${body} }`);
  return `{
var ${name}_next = ${start};
for (; ${name}_next + ${3 * stride}u < ${end}; ${name}_next += ${4 * stride}u) {
${turn.join('\n')}
}
for (; ${name}_next < ${end}; ${name}_next += ${stride}u) { let ${name} = ${name}_next; ${body} }
}`;
}
