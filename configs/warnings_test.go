package configs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/configs"
)

const twoPeers = `
peers:
  - {name: bob, key: "ed25519:zswVB9wd3XKVlRwpCIjwla25BE0bc9aW5t8GXWg71Pw"}
  - {name: carol, key: "ed25519:a3nFfmoJUjkoLASBjpYRLz8DpAAbqXpWTCOFKj8epfw"}
transports: {hub: {type: cable, url: "cable://hub"}}
`

// Is a file warned of for what can mean nothing, and for nothing else?
func TestWarningsNameWhatCannotBeMeant(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"wider before narrower", "subscribe: ['a/#', {filter: a/b, max_qos: 0}]" + twoPeers, `weft.yaml:2: subscribe[1]: never applies: subscribe[0], "a/#", matches all of "a/b" first; put the narrower one before it`},
		{"twice", "subscribe: [a, a]" + twoPeers, `weft.yaml:2: subscribe[1]: never applies: subscribe[0], "a", matches all of "a" first; put the narrower one before it`},
		{"narrower before wider", "subscribe: [a/b, 'a/#']" + twoPeers, ""},
		{"beside", "subscribe: [a/+, +/b]" + twoPeers, ""},
		{"from others", "subscribe: [{filter: 'a/#', from: [bob]}, {filter: a/b, from: [carol]}]" + twoPeers, ""},
		{"from one, then all", "subscribe: [{filter: 'a/#', from: [bob]}, a/b]" + twoPeers, ""},
		{"from all, then one", "subscribe: ['a/#', {filter: a/b, from: [bob]}]" + twoPeers, `weft.yaml:2: subscribe[1]: never applies: subscribe[0], "a/#", matches all of "a/b" first; put the narrower one before it`},
		{"from each, then all", "subscribe: [{filter: 'a/#', from: [bob, carol]}, a/b]" + twoPeers, `weft.yaml:2: subscribe[1]: never applies: subscribe[0], "a/#", matches all of "a/b" first; put the narrower one before it`},
		{"direct to nobody", "transports: {hub: {type: cable, url: 'cable://hub'}}\nroutes: [{name: r, match: a, to: hub}]\n", `weft.yaml:3: routes[0]: carries nothing: it goes to peers, and none is listed; list them in peers, or write mode: broadcast`},
		{"broadcast to nobody", "transports: {hub: {type: cable, url: 'cable://hub'}}\nroutes: [{name: r, match: a, to: hub, mode: broadcast}]\n", ""},
		{"behind a route with stages", "routes: [{name: r, match: a/b, to: hub}, {name: s, match: 'a/#', to: hub, stages: [sieve]}]" + twoPeers, `weft.yaml:2: routes[0]: carries nothing: route s has stages, and so takes all that this one matches first; narrow that one`},
		{"partly behind it", "routes: [{name: r, match: [a/b, b], to: hub}, {name: s, match: 'a/#', to: hub, stages: [sieve]}]" + twoPeers, ""},
		{"in another mode", "routes: [{name: r, match: a/b, to: hub, mode: broadcast}, {name: s, match: 'a/#', to: hub, stages: [sieve]}]" + twoPeers, ""},
		{"no stages", "routes: [{name: r, match: a/b, to: hub}, {name: s, match: 'a/#', to: hub}]" + twoPeers, ""},
		{"admin for everybody", "admin: {listen: ':9883'}\n", `weft.yaml:2: admin.listen: :9883 is reached from other machines, and it asks for no password; listen on 127.0.0.1, or behind a proxy that asks`},
		{"admin on loopback", "admin: {listen: '[::1]:9883'}\n", ""},
		{"no admin", "admin: {listen: ''}\n", ""},
	} {
		file, err := configs.Parse("weft.yaml", []byte("node: alice\n"+tt.text), types)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, file.Warnings().Error(), tt.name)
	}
}
