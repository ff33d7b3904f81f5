// Package twister carries frames over Twister: direct ones as direct messages to the users whose profile asks for them, broadcast
// ones as public posts. It needs a twisterd that runs beside the node and holds the key of the node's user.
//
// The daemon is driven in exactly the ways that were measured to work; package rpc has the calls, package twistertest the daemon
// to test against.
package twister
