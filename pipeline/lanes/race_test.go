//go:build race

package lanes_test

// raceEnabled cuts down what takes minutes under the race detector.
const raceEnabled = true
