package main

// What the tests of the command line use.
var (
	Execute = execute
	NewRoot = newRoot
)
