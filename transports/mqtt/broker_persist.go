package mqtt

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// persistHook keeps mochi's sessions in the store, and makes its promises hold: an acknowledgement leaves only when
// all that the packet has caused is on disk, and a session that moves to a new connection loses and doubles nothing.
type persistHook struct {
	mochi.HookBase
	broker *Broker
	store  *brokerStore
	quota  *quota
	closed bool // guarded by store.packets
}

// ID implements mochi's Hook.
func (h *persistHook) ID() string { return "weft-store" }

// Provides implements mochi's Hook.
func (h *persistHook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mochi.OnConnect, mochi.OnSessionEstablish, mochi.OnSessionEstablished, mochi.OnDisconnect, mochi.OnClientExpired,
		mochi.OnPacketRead, mochi.OnPacketProcessed,
		mochi.OnSubscribed, mochi.OnUnsubscribed, mochi.OnRetainMessage, mochi.OnRetainedExpired,
		mochi.OnQosPublish, mochi.OnQosDropped,
		mochi.StoredClients, mochi.StoredSubscriptions, mochi.StoredInflightMessages, mochi.StoredRetainedMessages,
	}, b)
}

func clientKey(id string) string                   { return "c/" + id }
func subscriptionKey(client, filter string) string { return "s/" + client + "\x00" + filter }
func retainedKey(topic string) string              { return "r/" + topic }
func inflightKey(client string, id uint16) string {
	return "i/" + client + "\x00" + strconv.Itoa(int(id))
}

func (h *persistHook) put(key string, value encoding.BinaryMarshaler) {
	if h.store.path == "" {
		h.store.put(key, nil) // its place in the order is all that is asked for
		return
	}
	data, err := value.MarshalBinary()
	if err != nil {
		h.broker.log.Error("built-in broker: not stored", "key", key, "error", err)
		return
	}
	h.store.put(key, data)
}

// OnConnect implements mochi's Hook. While the disk takes nothing nobody new is let in.
func (h *persistHook) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	if h.store.fault.Load() == nil {
		return nil
	}
	return errors.Join(packets.ErrServerUnavailable, h.broker.server.SendConnack(cl, packets.ErrServerUnavailable, false, nil))
}

// OnSessionEstablish implements mochi's Hook. Until all that the session has in flight was sent again no packet of any
// client is processed: mochi copies the session's state, and a message that came meanwhile would be lost or lose its place.
func (h *persistHook) OnSessionEstablish(cl *mochi.Client, _ packets.Packet) {
	conn, ok := cl.Net.Conn.(*brokerConn)
	if !ok {
		return
	}
	if old, ok := h.broker.server.Clients.Get(cl.ID); ok && !old.Closed() {
		h.broker.notes.warn(cl.ID, "taken_over", "a second connection takes the session over, and the first is ended; give each client an identifier of its own",
			"first", old.Net.Remote, "second", cl.Net.Remote)
	}
	h.store.packets.Lock()
	conn.client, conn.version = cl.ID, cl.Properties.ProtocolVersion
	conn.release = sync.OnceFunc(h.store.packets.Unlock)
	conn.resume()
}

// OnSessionEstablished implements mochi's Hook.
func (h *persistHook) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	props := cl.Properties.Props.Copy(false)
	h.put(clientKey(cl.ID), storage.Client{
		ID: cl.ID, T: storage.ClientKey, Listener: cl.Net.Listener, Username: cl.Properties.Username,
		Clean: cl.Properties.Clean, ProtocolVersion: cl.Properties.ProtocolVersion,
		Properties: storage.ClientProperties{
			SessionExpiryInterval: props.SessionExpiryInterval, SessionExpiryIntervalFlag: props.SessionExpiryIntervalFlag,
			ReceiveMaximum: props.ReceiveMaximum, MaximumPacketSize: props.MaximumPacketSize, User: props.User,
		},
		Will: storage.ClientWill(cl.Properties.Will),
	})
	if conn, ok := cl.Net.Conn.(*brokerConn); ok {
		conn.ids.resume(cl.State.Inflight)
		conn.resumeDone(func(id uint16) uint64 { return h.store.order(inflightKey(cl.ID, id)) })
		conn.release()
	}
}

// OnDisconnect implements mochi's Hook.
func (h *persistHook) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	if expire && !cl.IsTakenOver() {
		h.store.delete(clientKey(cl.ID))
	}
}

// OnClientExpired implements mochi's Hook. mochi forgets the client alone, not what it was subscribed to and what waits for it.
func (h *persistHook) OnClientExpired(cl *mochi.Client) {
	h.store.packets.Lock()
	defer h.store.packets.Unlock()
	if now, ok := h.broker.server.Clients.Get(cl.ID); ok && now != cl {
		return // it has come back at this moment
	}
	h.broker.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	h.store.delete(clientKey(cl.ID))
}

// OnPacketRead implements mochi's Hook. A connection that another has taken the session from has nothing more to say.
func (h *persistHook) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	conn, ok := cl.Net.Conn.(*brokerConn)
	switch {
	case !ok:
		return pk, nil
	case pk.FixedHeader.Type == packets.Connect && conn.release == nil:
		return pk, nil
	case pk.FixedHeader.Type == packets.Connect: // [MQTT-3.1.0-2]
		return pk, packets.ErrRejectPacket
	}
	if code := validate(h.broker.server, pk); code != packets.CodeSuccess {
		h.broker.notes.wrong(cl, code)
		return pk, packets.ErrRejectPacket
	}
	if h.store.fault.Load() != nil && storing(pk) {
		return pk, packets.ErrRejectPacket // the client comes again with what was not acknowledged
	}
	h.store.packets.RLock()
	if h.closed || cl.IsTakenOver() {
		h.store.packets.RUnlock()
		return pk, packets.ErrRejectPacket
	}
	kind := pk.FixedHeader.Type
	if begins(pk) {
		id, ok := conn.ids.enter(pk.PacketID, func(id uint16) bool { _, taken := cl.State.Inflight.Get(id); return taken })
		if !ok {
			h.store.packets.RUnlock()
			h.broker.notes.wrong(cl, packets.ErrReceiveMaximum)
			return pk, packets.ErrRejectPacket
		}
		pk.PacketID = id
	}
	if kind == packets.Puback || kind == packets.Pubrec || kind == packets.Pubcomp {
		conn.answered(pk.PacketID)
		h.quota.release(cl.ID, pk.PacketID)
	}
	if kind == packets.Puback || kind == packets.Pubrel || kind == packets.Pubcomp {
		// Not in OnQosComplete: by then mochi may have given the identifier to another message.
		h.store.delete(inflightKey(cl.ID, pk.PacketID))
	}
	conn.link.hold(true)
	return pk, nil
}

// begins reports whether a packet carries an identifier that the client has chosen.
func begins(pk packets.Packet) bool {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return pk.FixedHeader.Qos > 0
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		return true
	}
	return false
}

// validate makes mochi's own checks: after them it calls OnPacketProcessed, whatever comes.
func validate(server *mochi.Server, pk packets.Packet) packets.Code {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return pk.PublishValidate(server.Options.Capabilities.TopicAliasMaximum)
	case packets.Subscribe:
		return pk.SubscribeValidate()
	case packets.Unsubscribe:
		return pk.UnsubscribeValidate()
	case packets.Auth:
		return pk.AuthValidate()
	case packets.Disconnect, packets.Pingreq, packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		return packets.CodeSuccess
	}
	return packets.ErrProtocolViolation
}

// storing reports whether a packet makes the store grow, or asks for an answer that promises something.
func storing(pk packets.Packet) bool {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return pk.FixedHeader.Qos > 0 || pk.FixedHeader.Retain
	case packets.Puback, packets.Pubcomp, packets.Pingreq, packets.Disconnect:
		return false
	}
	return true
}

// close ends the processing of packets: mochi would take in halves what comes while it disconnects the clients.
func (h *persistHook) close() {
	h.store.packets.Lock()
	defer h.store.packets.Unlock()
	h.closed = true
}

// OnPacketProcessed implements mochi's Hook. mochi writes PUBACK before it passes the message on: the bytes were held, and
// go out after the store is synced with everything that the packet has caused.
func (h *persistHook) OnPacketProcessed(cl *mochi.Client, pk packets.Packet, _ error) {
	conn, ok := cl.Net.Conn.(*brokerConn)
	if !ok {
		return
	}
	if pk.FixedHeader.Type == packets.Pubrec {
		if due, ok := cl.State.Inflight.Get(pk.PacketID); ok && due.FixedHeader.Type == packets.Pubrel {
			h.OnQosPublish(cl, due, 0, 0) // mochi stores no PUBREL, and would send the PUBLISH again after a restart
		}
	}
	conn.subscribing.Store(false)
	conn.link.hold(false)
	h.store.packets.RUnlock()
}

// OnSubscribed implements mochi's Hook.
func (h *persistHook) OnSubscribed(cl *mochi.Client, pk packets.Packet, codes []byte) {
	for i, f := range pk.Filters {
		if codes[i] >= subackFailure {
			continue
		}
		h.put(subscriptionKey(cl.ID, f.Filter), storage.Subscription{
			T: storage.SubscriptionKey, Client: cl.ID, Filter: f.Filter, Qos: codes[i], Identifier: f.Identifier,
			NoLocal: f.NoLocal, RetainHandling: f.RetainHandling, RetainAsPublished: f.RetainAsPublished,
		})
	}
}

// OnUnsubscribed implements mochi's Hook.
func (h *persistHook) OnUnsubscribed(cl *mochi.Client, pk packets.Packet) {
	for _, f := range pk.Filters {
		h.store.delete(subscriptionKey(cl.ID, f.Filter))
	}
}

// OnRetainMessage implements mochi's Hook.
func (h *persistHook) OnRetainMessage(_ *mochi.Client, pk packets.Packet, result int64) {
	if result == -1 || len(pk.Payload) == 0 {
		h.store.delete(retainedKey(pk.TopicName))
		return
	}
	h.put(retainedKey(pk.TopicName), stored(pk, storage.RetainedKey, ""))
}

// OnRetainedExpired implements mochi's Hook.
func (h *persistHook) OnRetainedExpired(topic string) { h.store.delete(retainedKey(topic)) }

// OnQosPublish implements mochi's Hook. A PUBACK is not kept: to send it again costs a duplicate nothing.
func (h *persistHook) OnQosPublish(cl *mochi.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish {
		h.quota.hold(cl.ID, pk.PacketID, int64(len(pk.TopicName)+len(pk.Payload)))
	}
	if pk.FixedHeader.Type == packets.Puback || pk.FixedHeader.Dup || cl.Properties.Clean && cl.Properties.ProtocolVersion < 5 {
		return
	}
	if conn, ok := cl.Net.Conn.(*brokerConn); ok && pk.FixedHeader.Type == packets.Pubrec && pk.Origin == "" {
		conn.ids.mark(&pk)
		cl.State.Inflight.Set(pk)
	}
	h.put(inflightKey(cl.ID, pk.PacketID), stored(pk, storage.InflightKey, cl.ID))
}

func stored(pk packets.Packet, kind, client string) storage.Message {
	return storage.Message{
		T: kind, Client: client, Origin: pk.Origin, FixedHeader: pk.FixedHeader, TopicName: pk.TopicName,
		Payload: pk.Payload, Created: pk.Created, PacketID: pk.PacketID,
		Properties: storage.MessageProperties{
			PayloadFormat: pk.Properties.PayloadFormat, PayloadFormatFlag: pk.Properties.PayloadFormatFlag,
			MessageExpiryInterval: pk.Properties.MessageExpiryInterval, ContentType: pk.Properties.ContentType,
			ResponseTopic: pk.Properties.ResponseTopic, CorrelationData: pk.Properties.CorrelationData,
			SubscriptionIdentifier: pk.Properties.SubscriptionIdentifier, User: pk.Properties.User,
		},
	}
}

// OnQosDropped implements mochi's Hook. What a connection gives up because another has taken its session over lives on.
func (h *persistHook) OnQosDropped(cl *mochi.Client, pk packets.Packet) {
	if !cl.IsTakenOver() {
		h.quota.release(cl.ID, pk.PacketID)
		h.store.delete(inflightKey(cl.ID, pk.PacketID))
	}
}

// load decodes all values with the prefix. One that cannot be read is left out, and said so.
func load[T any](h *persistHook, prefix string) []T {
	var all []T
	for _, data := range h.store.list(prefix) {
		var value T
		if err := json.Unmarshal(data, &value); err != nil {
			h.broker.log.Error("built-in broker: stored value left out", "error", fmt.Errorf("%s: %w", prefix, err))
			continue
		}
		all = append(all, value)
	}
	return all
}

// StoredClients implements mochi's Hook.
func (h *persistHook) StoredClients() ([]storage.Client, error) {
	return load[storage.Client](h, "c/"), nil
}

// StoredSubscriptions implements mochi's Hook.
func (h *persistHook) StoredSubscriptions() ([]storage.Subscription, error) {
	return load[storage.Subscription](h, "s/"), nil
}

// StoredInflightMessages implements mochi's Hook.
func (h *persistHook) StoredInflightMessages() ([]storage.Message, error) {
	all := load[storage.Message](h, "i/")
	for _, m := range all {
		if m.FixedHeader.Type == packets.Publish {
			h.quota.hold(m.Client, m.PacketID, int64(len(m.TopicName)+len(m.Payload)))
		}
	}
	return all, nil
}

// StoredRetainedMessages implements mochi's Hook.
func (h *persistHook) StoredRetainedMessages() ([]storage.Message, error) {
	return load[storage.Message](h, "r/"), nil
}
