package mqtt

import (
	"crypto/subtle"
	"slices"
	"strings"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// bridgeProperty marks, among a client's user properties, one that has connected with the bridge bit. A client of
// MQTT 3.1.1 has no properties of its own, and these are kept with its session.
var bridgeProperty = packets.UserProperty{Key: "weft-bridge", Val: "1"}

// brokerHook decides who may do what, and gives bridges what Mosquitto gives them.
type brokerHook struct {
	mochi.HookBase
	broker *Broker
}

// ID implements mochi's Hook.
func (h *brokerHook) ID() string { return "weft" }

// Provides implements mochi's Hook.
func (h *brokerHook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPacketRead, mochi.OnSubscribe, mochi.OnStarted,
	}, b)
}

// user returns the user of that name, the process's own included.
func (h *brokerHook) user(name string) (User, bool) {
	if name == h.broker.own.Name {
		return h.broker.own, true
	}
	for _, u := range h.broker.cfg.Users {
		if u.Name == name {
			return u, true
		}
	}
	return User{}, false
}

// OnConnectAuthenticate implements mochi's Hook.
func (h *brokerHook) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	if len(h.broker.cfg.Users) == 0 {
		return true
	}
	u, ok := h.user(string(pk.Connect.Username))
	return subtle.ConstantTimeCompare([]byte(u.Password), pk.Connect.Password) == 1 && ok
}

// OnACLCheck implements mochi's Hook. A subscription is not refused for what its filter covers: every message is checked
// before it is delivered.
func (h *brokerHook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if len(h.broker.cfg.Users) == 0 {
		return true
	}
	u, ok := h.user(string(cl.Properties.Username))
	switch {
	case !ok:
		return false
	case u.Read == nil && u.Write == nil: // an empty list is a right to nothing
		return true
	case write:
		return anyMatches(u.Write, topic)
	}
	return strings.ContainsAny(topic, "+#") || strings.HasPrefix(topic, "$share/") || anyMatches(u.Read, topic)
}

// OnPacketRead implements mochi's Hook: it takes the bridge bit off a CONNECT, which mochi would refuse.
func (h *brokerHook) OnPacketRead(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type == packets.Connect && pk.ProtocolVersion == protocol311|bridgeBit {
		pk.ProtocolVersion = protocol311
		pk.Properties.User = append(pk.Properties.User, bridgeProperty)
	}
	return pk, nil
}

func isBridge(cl *mochi.Client) bool {
	return slices.Contains(cl.Properties.Props.User, bridgeProperty)
}

// OnSubscribe implements mochi's Hook: a bridge gets nothing back that it has published, and every message with its
// retain flag. Filters that mochi would take wrongly are made ones that it refuses.
func (h *brokerHook) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	bridge := isBridge(cl)
	for i := range pk.Filters {
		if checkFilter(pk.Filters[i].Filter, pk.Filters[i].Qos) != nil {
			pk.Filters[i].Filter = "" // [MQTT-4.7.1-2] [MQTT-4.7.1-3]: mochi takes "a#" and "a+"
		}
		if bridge {
			asBridge(&pk.Filters[i])
		}
	}
	return pk
}

// asBridge makes the subscription one of a bridge. mochi clears the retain flag for clients of 3.1.1 unless
// FwdRetainedFlag is set.
func asBridge(sub *packets.Subscription) {
	sub.NoLocal, sub.RetainAsPublished, sub.FwdRetainedFlag = true, true, true
}

// OnStarted implements mochi's Hook: subscriptions of bridges, read from the store, get the flag that the store has no
// place for.
func (h *brokerHook) OnStarted() {
	server := h.broker.server
	for _, cl := range server.Clients.GetAll() {
		if !isBridge(cl) {
			continue
		}
		for filter, sub := range cl.State.Subscriptions.GetAll() {
			asBridge(&sub)
			server.Topics.Subscribe(cl.ID, sub)
			cl.State.Subscriptions.Add(filter, sub)
		}
	}
}
