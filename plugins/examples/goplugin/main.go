// Goplugin is a plugin of weft in Go: a program that a node starts. The same stage could be compiled into a weft.
package main

import (
	"github.com/weft-relay/weft/plugins/serve"

	"example.com/goplugin/decode"
)

func main() {
	serve.Main(serve.Stage("decode", decode.New).Comment("turns the two bytes of a sensor into JSON"))
}
