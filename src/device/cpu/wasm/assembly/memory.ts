/** Single words of the memory, for the host. */

export function loadU32(at: usize): u32 {
  return load<u32>(at);
}

export function loadF32(at: usize): f32 {
  return load<f32>(at);
}
