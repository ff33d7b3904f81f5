// Package remote runs plugins that are programs of their own, in any language, and gives the node their stages and transports. The
// protocol is that of plugins/proto.
//
// A program costs nobody but its own routes: it is started again, ever more slowly, when it ends, does not answer, uses too much
// memory or is out of order, and what its stages and transports were asked meanwhile is an error that names it and leaves everything as it was.
package remote

import (
	"errors"

	"github.com/hashicorp/go-plugin"
)

// ErrUnavailable marks an error of a plugin whose program is not running, or has not answered.
var ErrUnavailable = errors.New("plugin unavailable")

// ErrContract marks an error of a plugin that has broken a rule of the protocol.
var ErrContract = errors.New("plugin broke the contract")

// Handshake is what a node and a program greet each other with.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "WEFT_PLUGIN",
	MagicCookieValue: "5c1b4c6e-weft-plugin",
}

// Service is the name under which go-plugin knows the services of the protocol.
const Service = "weft"
