package kademlia

import (
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// gossipCounter counts the messages of the gossip. It implements pubsub.RawTracer.
type gossipCounter struct {
	self     peer.ID
	messages *counts
}

// DeliverMessage is also called for what this node publishes.
func (g *gossipCounter) DeliverMessage(m *pubsub.Message) {
	if m.ReceivedFrom != g.self {
		g.messages.add("new")
	}
}

func (g *gossipCounter) DuplicateMessage(*pubsub.Message) { g.messages.add("duplicate") }

func (g *gossipCounter) RejectMessage(*pubsub.Message, string) { g.messages.add("rejected") }

func (g *gossipCounter) SendRPC(rpc *pubsub.RPC, _ peer.ID) {
	for range rpc.GetPublish() {
		g.messages.add("sent")
	}
}

// What is not counted.

func (g *gossipCounter) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (g *gossipCounter) OnClosedOutboundStream(peer.ID)           {}
func (g *gossipCounter) Join(string)                              {}
func (g *gossipCounter) Leave(string)                             {}
func (g *gossipCounter) Graft(peer.ID, string)                    {}
func (g *gossipCounter) Prune(peer.ID, string)                    {}
func (g *gossipCounter) ValidateMessage(*pubsub.Message)          {}
func (g *gossipCounter) ThrottlePeer(peer.ID)                     {}
func (g *gossipCounter) RecvRPC(*pubsub.RPC)                      {}
func (g *gossipCounter) DropRPC(*pubsub.RPC, peer.ID)             {}
func (g *gossipCounter) UndeliverableMessage(*pubsub.Message)     {}
