/** Single words of the memory, for the host. */

export function loadU32(at: usize): u32 {
  return load<u32>(at);
}

export function loadF32(at: usize): f32 {
  return load<f32>(at);
}

export function storeF32(at: usize, value: f32): void {
  store<f32>(at, value);
}
