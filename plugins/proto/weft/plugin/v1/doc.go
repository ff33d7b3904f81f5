// Package pluginv1 is the protocol between a node and the programs that it runs as plugins. The .proto files beside it document it, and
// the rest is generated from them by `make proto`.
package pluginv1
