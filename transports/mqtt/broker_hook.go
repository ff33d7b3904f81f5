package mqtt

import (
	"crypto/subtle"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/mochi-mqtt/server/v2/system"
)

// bridgeProperty marks, among a client's user properties, one that has connected with the bridge bit. A client of
// MQTT 3.1.1 has no properties of its own, and these are kept with its session.
var bridgeProperty = packets.UserProperty{Key: "weft-bridge", Val: "1"}

// brokerHook decides who may do what, and gives bridges what Mosquitto gives them.
type brokerHook struct {
	mochi.HookBase
	broker  *Broker
	persist *persistHook
}

// ID implements mochi's Hook.
func (h *brokerHook) ID() string { return "weft" }

// Provides implements mochi's Hook.
func (h *brokerHook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish, mochi.OnPacketRead, mochi.OnSubscribe,
		mochi.OnStarted, mochi.OnDisconnect, mochi.OnPublishDropped, mochi.OnSysInfoTick,
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

// OnConnect implements mochi's Hook. Who may not publish its will is refused, as by Mosquitto: mochi publishes wills unasked. So
// is who asks for another user's session: what waits in it is not for everybody.
func (h *brokerHook) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	if !h.authentic(pk) {
		return nil // OnConnectAuthenticate refuses it
	}
	user := string(pk.Connect.Username)
	switch {
	case !h.mayTake(cl.ID, user):
		h.broker.notes.warn(cl.ID, "session_refused", "client refused: the session of this identifier belongs to another user", "user", user)
		if pk.ProtocolVersion < 5 {
			return h.refuse(cl, packets.Err3ClientIdentifierNotValid)
		}
		return h.refuse(cl, packets.ErrClientIdentifierNotValid)
	case pk.Connect.WillFlag && !h.rights(pk.Connect.Username).MayPublish(pk.Connect.WillTopic):
		h.broker.notes.warn(cl.ID, "will_refused", "client refused: its user may not publish its will", "user", user, "topic", pk.Connect.WillTopic)
		if pk.ProtocolVersion < 5 {
			return h.refuse(cl, packets.Err3NotAuthorized)
		}
		return h.refuse(cl, packets.ErrNotAuthorized)
	}
	return nil
}

func (h *brokerHook) refuse(cl *mochi.Client, code packets.Code) error {
	return errors.Join(code, h.broker.server.SendConnack(cl, code, false, nil))
}

// mayTake reports whether a client of that user may take up the session. Without users everybody may, but for those of the process
// itself, which a later process may take up again.
func (h *brokerHook) mayTake(id, user string) bool {
	old, ok := h.broker.server.Clients.Get(id)
	if !ok || user == h.broker.own.Name {
		return true
	}
	owner := string(old.Properties.Username)
	return owner == user || len(h.broker.cfg.Users) == 0 && !isOwn(owner)
}

// OnConnectAuthenticate implements mochi's Hook.
func (h *brokerHook) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	if h.authentic(pk) {
		return true
	}
	host, _, _ := net.SplitHostPort(cl.Net.Remote)
	h.broker.notes.warn(cl.ID+"@"+host, "login_refused", "client refused: bad user name or password", "user", string(pk.Connect.Username))
	return false
}

func (h *brokerHook) authentic(pk packets.Packet) bool {
	if len(h.broker.cfg.Users) == 0 {
		return true
	}
	u, ok := h.user(string(pk.Connect.Username))
	return subtle.ConstantTimeCompare([]byte(u.Password), pk.Connect.Password) == 1 && ok
}

// rights returns the user of that name as far as its rights go. One that is not there has none.
func (h *brokerHook) rights(name []byte) User {
	if len(h.broker.cfg.Users) == 0 {
		return User{}
	}
	u, ok := h.user(string(name))
	if !ok {
		return User{Read: []string{}, Write: []string{}}
	}
	return u
}

// OnACLCheck implements mochi's Hook. It is asked of filters that are subscribed to, and again of each message before it is
// delivered. Of what is published OnPublish judges: mochi would end the connection of a client of 3.1.1 with a packet of MQTT 5,
// and asks before it knows the topic behind an alias.
func (h *brokerHook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	if write {
		return true
	}
	u := h.rights(cl.Properties.Username)
	if strings.ContainsAny(topic, "+#") || strings.HasPrefix(topic, "$share/") {
		return u.MaySubscribe(topic)
	}
	return u.MayRead(topic) && !h.full(cl)
}

// full reports whether no more may wait for the client. The process's own session holds up to maxSession messages: what it does not
// take, its relay could not store.
func (h *brokerHook) full(cl *mochi.Client) bool {
	if conn, ok := cl.Net.Conn.(*brokerConn); ok && conn.subscribing.Load() {
		return false // it may be the subscription that is asked for, not a message
	}
	if !h.broker.quota.full(cl.ID) || isOwn(string(cl.Properties.Username)) {
		return false
	}
	h.broker.notes.drop(cl.ID, droppedFull, "acknowledged messages are dropped: too many bytes wait for the client, which must fetch them or end its session",
		"session_bytes", h.broker.quota.limit)
	return true
}

// OnPublish implements mochi's Hook. What the user has no right to publish is dropped: a client of 3.1.1 gets the
// acknowledgement that it would get anyway, as there is no other [MQTT-3.3.5-2], one of MQTT 5 the reason [MQTT5 3.4.2.1].
func (h *brokerHook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if h.rights(cl.Properties.Username).MayPublish(pk.TopicName) {
		return pk, nil
	}
	h.broker.notes.drop(cl.ID, droppedDenied, "messages are dropped: their user may not publish to the topic",
		"user", string(cl.Properties.Username), "topic", pk.TopicName)
	if cl.Properties.ProtocolVersion < 5 || pk.FixedHeader.Qos == 0 {
		return pk, packets.CodeSuccessIgnore
	}
	answer := packets.Packet{PacketID: pk.PacketID, ReasonCode: packets.ErrNotAuthorized.Code}
	answer.FixedHeader.Type = packets.Puback
	if pk.FixedHeader.Qos == 2 {
		answer.FixedHeader.Type = packets.Pubrec
	}
	_ = cl.WritePacket(answer) // fails only where the connection has ended
	return pk, packets.ErrRejectPacket
}

// OnPublishDropped implements mochi's Hook.
func (h *brokerHook) OnPublishDropped(cl *mochi.Client, _ packets.Packet) {
	h.broker.notes.drop(cl.ID, droppedSlow, "messages are dropped: too many wait for the client")
}

// OnDisconnect implements mochi's Hook: it says of clients that do not keep to MQTT who they are.
func (h *brokerHook) OnDisconnect(cl *mochi.Client, err error, _ bool) {
	var code packets.Code
	if !errors.As(err, &code) || code.Code < packets.ErrUnspecifiedError.Code || code == packets.ErrRejectPacket || code == packets.ErrServerShuttingDown {
		return
	}
	h.broker.notes.wrong(cl, code)
}

// OnSysInfoTick implements mochi's Hook: it comes once a second.
func (h *brokerHook) OnSysInfoTick(*system.Info) { h.broker.notes.sweep(time.Now()) }

// OnPacketRead implements mochi's Hook: it takes the bridge bit off a CONNECT, which mochi would refuse.
func (h *brokerHook) OnPacketRead(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type == packets.Connect && pk.ProtocolVersion == protocol311|bridgeBit {
		pk.ProtocolVersion = protocol311
		pk.Properties.User = append(pk.Properties.User, bridgeProperty)
	}
	return pk, nil
}

// isDeserted reports whether a session is of a user that the broker does not have.
func (h *brokerHook) isDeserted(cl *mochi.Client) bool {
	owner := string(cl.Properties.Username)
	_, ok := h.user(owner)
	return len(h.broker.cfg.Users) > 0 && !ok && !isOwn(owner) && !cl.Net.Inline
}

func isBridge(cl *mochi.Client) bool {
	return slices.Contains(cl.Properties.Props.User, bridgeProperty)
}

// OnSubscribe implements mochi's Hook: a bridge gets nothing back that it has published, and every message with its
// retain flag. Filters that mochi would take wrongly are made ones that it refuses.
func (h *brokerHook) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if conn, ok := cl.Net.Conn.(*brokerConn); ok {
		conn.subscribing.Store(true)
	}
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
// place for. Sessions of users that are there no more end: nobody could take them up.
func (h *brokerHook) OnStarted() {
	server := h.broker.server
	for _, cl := range server.Clients.GetAll() {
		if h.isDeserted(cl) {
			h.broker.log.Warn("built-in broker: session ended, its user is there no more", "client", cl.ID, "user", string(cl.Properties.Username))
			h.persist.OnClientExpired(cl)
			server.Clients.Delete(cl.ID)
			continue
		}
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
