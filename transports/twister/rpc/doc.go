// Package rpc calls twisterd over JSON-RPC 1.0, in exactly the calls that Weft uses.
//
// No kept library obeys the daemon's rules. btcd's rpcclient posts a request that got no answer up to ten times over, which here
// loses messages or aborts the daemon; like every client of JSON-RPC in Go it marshals with encoding/json, whose \u2028, \u2029 and
// \ufffd twisterd cuts to one byte each, and most of them keep idle connections, ten of which block the daemon for ever.
//
// So this client writes raw UTF-8 and refuses what is none, sends each request once, over a connection of its own and over four
// at a time at most, and bounds every answer. An error of a call is an *Error where the daemon answered one, and in any case
// one of the Err values of this package for errors.Is.
package rpc
