//go:build !linux

package remote

const measures = false

func memoryOf(int, int) int64 { return 0 }

func startedBy(int, int) []int { return nil }

func alive(int) bool { return false }
