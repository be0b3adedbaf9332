/** `1 pod has`, `2 pods have`. */
export const counted = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;
