//go:build !linux

package remote

const measures = false

func memoryOf(int, int) int64 { return 0 }
