package mqtt_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// Does each QoS cross a real broker, in order, with its topic, flags and payload?
func TestMessagesCrossAtEveryQoS(t *testing.T) {
	broker := startMosquitto(t)
	receiver := session(t, config(broker.url(), "receiver"), nil)
	sender := session(t, config(broker.url(), "sender"), nil)
	got := subscribe(t, receiver, "a/#")
	for qos := range byte(3) {
		var msgs []*message.Message
		var want []string
		for i := range 500 {
			msgs = append(msgs, raw(fmt.Sprintf("a/%d", i%7), fmt.Sprintf("%d-%d", qos, i), qos))
			want = append(want, fmt.Sprintf("%d-%d", qos, i))
		}
		before := got.len()
		require.NoError(t, sender.Publish("", msgs...))
		eventually(t, 5*time.Second, fmt.Sprintf("all messages at QoS %d", qos), func() bool { return got.len() >= before+500 })
		assert.Equal(t, want, got.payloads()[before:])
		assert.Equal(t, fmt.Sprint(qos), got.msgs[before].Metadata.Get(transports.MetaQoS))
		assert.Equal(t, "a/0", got.msgs[before].Metadata.Get(transports.MetaTopic))
	}
}

// Does what is published before the broker was ever reachable arrive when it comes up (pains 1)?
func TestFirstConnectIsRetriedAndNothingIsLost(t *testing.T) {
	broker := startMosquitto(t, "max_queued_messages 0")
	broker.kill()
	receiver, err := mqtt.New(config(broker.url(), "receiver"), nil, nil, discard())
	require.NoError(t, err)
	messages, err := receiver.Subscribe(context.Background(), "a")
	require.NoError(t, err)
	got := collect(messages)
	require.NoError(t, receiver.Start(context.Background()))
	defer receiver.Close()
	sender := session(t, config(broker.url(), "sender"), nil)
	published := make(chan error, 1)
	ready := make(chan struct{})
	const n = 10_000
	go func() {
		var msgs []*message.Message
		for i := range n {
			msgs = append(msgs, raw("a", fmt.Sprint(i), 1))
		}
		<-ready
		published <- sender.Publish("", msgs...)
	}()
	eventually(t, 5*time.Second, "a report of the trouble", func() bool {
		return receiver.Report().State == transports.Connecting && receiver.Report().Detail != ""
	})
	broker.start()
	eventually(t, 10*time.Second, "the receiver is up", func() bool { return isUp(receiver) })
	eventually(t, 10*time.Second, "the subscription", func() bool { // a probe that is answered proves the subscription
		require.NoError(t, sender.Publish("", raw("a", "probe", 0)))
		return got.len() > 0
	})
	eventually(t, 5*time.Second, "probes", func() bool { return got.len() > 0 })
	close(ready)
	require.NoError(t, <-published)
	distinct := func() (out []string) {
		for _, p := range got.payloads() {
			if p != "probe" {
				out = append(out, p)
			}
		}
		return out
	}
	eventually(t, 20*time.Second, "all messages", func() bool { return len(distinct()) >= n })
	for i, p := range distinct() {
		require.Equal(t, fmt.Sprint(i), p)
	}
}

// Is a message given back to the broker only after Ack, and delivered again, first, after Nack?
func TestNackedMessageComesAgainBeforeAnyLaterOne(t *testing.T) {
	broker := startMosquitto(t)
	cfg := config(broker.url(), "receiver")
	cfg.Window = 10
	receiver := session(t, cfg, nil)
	messages, err := receiver.Subscribe(context.Background(), "a")
	require.NoError(t, err)
	sender := session(t, config(broker.url(), "sender"), nil)
	var msgs []*message.Message
	for i := range 30 {
		msgs = append(msgs, raw("a", fmt.Sprint(i), 1))
	}
	require.NoError(t, sender.Publish("", msgs...))
	var held []*message.Message
	for range 10 {
		held = append(held, <-messages)
	}
	for i, msg := range held { // the window is full: settle it, with two Nacks
		if i == 0 || i == 7 {
			require.True(t, msg.Nack())
		} else {
			require.True(t, msg.Ack())
		}
	}
	var order []string
	for range 22 {
		msg := <-messages
		order = append(order, string(msg.Payload))
		msg.Ack()
	}
	assert.Equal(t, []string{"0", "7", "10", "11"}, order[:4])
	assert.Equal(t, "29", order[21])
}

// Is a retained message kept from coming again when a connection breaks and the session lives on?
func TestReconnectDoesNotRedeliverRetained(t *testing.T) {
	broker := startMosquitto(t)
	p := startProxy(t, broker.address())
	receiver := session(t, config("mqtt://"+p.address(), "receiver"), nil)
	sender := session(t, config(broker.url(), "sender"), nil)
	require.NoError(t, sender.Publish("", retained("r", "old", 1)))
	got := subscribe(t, receiver, "r")
	eventually(t, 5*time.Second, "the retained message", func() bool { return got.len() == 1 })
	assert.Equal(t, "1", got.msgs[0].Metadata.Get(transports.MetaRetain))
	for round := range uint64(3) {
		p.cut()
		eventually(t, 5*time.Second, "a reconnect", func() bool { return receiver.Report().Reconnects > round && isUp(receiver) })
		require.NoError(t, sender.Publish("", raw("r", fmt.Sprint(round), 2)))
		eventually(t, 5*time.Second, "a live message", func() bool { return got.len() >= int(round)+2 })
	}
	assert.Equal(t, []string{"old", "0", "1", "2"}, got.payloads())
}

// Does the bridge bit keep the retain flag of live messages, and a session's own messages away from it?
func TestBridgeBitCarriesRetainAndKeepsEchoesOut(t *testing.T) {
	broker := startMosquitto(t)
	one := session(t, config(broker.url(), "one"), nil)
	two := session(t, config(broker.url(), "two"), nil)
	got := subscribe(t, one, "#")
	require.NoError(t, one.Publish("", raw("x", "own", 1)))
	require.NoError(t, two.Publish("", retained("x", "theirs", 1)))
	eventually(t, 5*time.Second, "the other's message", func() bool { return got.len() > 0 })
	assert.Equal(t, []string{"theirs"}, got.payloads())
	assert.Equal(t, "1", got.msgs[0].Metadata.Get(transports.MetaRetain))
}

// A filter is not wanted any more, and the connection breaks before the broker hears it, or before its answer comes. Does it hear it
// again, also from the next run?
func TestUnsubscribeThatWasCutIsSentAgain(t *testing.T) {
	for name, cutAt := range map[string]struct {
		kind    byte
		restart bool
	}{
		"on its way": {packets.Unsubscribe, false}, "before its answer": {packets.Unsuback, false}, "before a restart": {packets.Unsubscribe, true},
	} {
		t.Run(name, func(t *testing.T) {
			broker := startMosquitto(t)
			store := mqtt.NewMemoryStore()
			first := session(t, config(broker.url(), "receiver"), store)
			subscribe(t, first, "a")
			require.NoError(t, first.Close())

			p := startProxy(t, broker.address())
			cuts := 0
			p.set(func(p *proxy) {
				p.watch = func(_ bool, kind byte) verdict {
					if kind == cutAt.kind && cuts == 0 {
						cuts++
						p.deaf = cutAt.restart
						return cutBefore
					}
					return pass
				}
			})
			second := session(t, config(via(broker.url(), p), "receiver"), store)
			eventually(t, 10*time.Second, "the cut", func() bool {
				var n int
				p.set(func(*proxy) { n = cuts })
				return n == 1
			})
			if cutAt.restart {
				require.NoError(t, second.Close())
				p.set(func(p *proxy) { p.deaf = false })
				second = session(t, config(via(broker.url(), p), "receiver"), store)
			}
			eventually(t, 10*time.Second, "no subscription left", func() bool { return isUp(second) && len(store.Subscriptions()) == 0 })
			sender := session(t, config(broker.url(), "sender"), nil)
			got := subscribe(t, second, "b")
			require.NoError(t, sender.Publish("", raw("a", "not wanted", 1), raw("b", "end", 1)))
			eventually(t, 5*time.Second, "what is wanted", func() bool { return got.len() == 1 })
			require.Zero(t, second.Counters().Unwanted)
		})
	}
}

// The broker has queued what nobody wants any more. Is that taken off it, so that what is wanted comes behind it, although the
// broker sends only so much that is not acknowledged?
func TestQueueThatNobodyWantsHoldsUpNothing(t *testing.T) {
	broker := startMosquitto(t)
	store := mqtt.NewMemoryStore()
	first := session(t, config(broker.url(), "receiver"), store)
	subscribe(t, first, "old")
	subscribe(t, first, "new")
	require.NoError(t, first.Close())
	sender := session(t, config(broker.url(), "sender"), nil)
	for i := range 60 { // thrice what Mosquitto has in flight
		require.NoError(t, sender.Publish("", raw("old", fmt.Sprint(i), 1)))
	}
	require.NoError(t, sender.Publish("", raw("new", "wanted", 1)))

	second, err := mqtt.New(config(broker.url(), "receiver"), store, nil, discard())
	require.NoError(t, err)
	t.Cleanup(func() { second.Close() })
	got := subscribe(t, second, "new")
	require.NoError(t, second.Start(context.Background()))
	eventually(t, 30*time.Second, "what is wanted", func() bool { return got.len() == 1 })
	require.NotZero(t, second.Counters().Unwanted)
}

// A subscription ends and another takes its place at once, before the first is taken down. Does the other get what the first left
// unacknowledged, once?
func TestSubscriptionGetsWhatTheOneBeforeItLeft(t *testing.T) {
	broker := startMosquitto(t)
	receiver := session(t, config(broker.url(), "receiver"), nil)
	sender := session(t, config(broker.url(), "sender"), nil)
	ctx, cancel := context.WithCancel(context.Background())
	messages, err := receiver.Subscribe(ctx, "a")
	require.NoError(t, err)
	for round := range 50 {
		require.NoError(t, sender.Publish("", raw("a", fmt.Sprint(round), 1), raw("a", fmt.Sprint(round, "b"), 1)))
		left := <-messages
		cancel()
		ctx, cancel = context.WithCancel(context.Background())
		messages, err = receiver.Subscribe(ctx, "a")
		require.NoError(t, err)
		for _, want := range []string{string(left.Payload), fmt.Sprint(round, "b")} {
			select {
			case msg := <-messages:
				require.Equal(t, want, string(msg.Payload))
				msg.Ack()
			case <-time.After(10 * time.Second):
				t.Fatalf("round %d: nobody gets %q", round, want)
			}
		}
	}
	cancel()
}

// Mosquitto 2.0.11 sends messages at QoS 2 that were on their way when the connection broke again without the DUP flag. Does each arrive once
// all the same, and a new message with the same identifier too, whatever is in it?
func TestRepeatWithoutDupFlagIsNoNewMessage(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	receiver := session(t, config("mqtt://"+listener.Addr().String(), "receiver"), nil)
	subscribed := make(chan *inbox, 1)
	go func() {
		messages, err := receiver.Subscribe(context.Background(), "a")
		if err == nil {
			subscribed <- collect(messages)
		}
	}()
	accept := func(present bool) (conn net.Conn, read func(kind byte) packets.ControlPacket) {
		conn, err := listener.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		read = func(kind byte) packets.ControlPacket {
			for {
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
				p, err := packets.ReadPacket(conn)
				require.NoError(t, err)
				if p.Details().MessageID != 0 || kind == packets.Connect { // and no PINGREQ
					return p
				}
			}
		}
		read(packets.Connect)
		connack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		connack.SessionPresent = present
		require.NoError(t, connack.Write(conn))
		return conn, read
	}
	publish := func(conn net.Conn, payload string) {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName, p.Payload, p.Qos, p.MessageID = "a", []byte(payload), 2, 1
		require.NoError(t, p.Write(conn))
	}
	release := func(conn net.Conn, read func(byte) packets.ControlPacket) {
		require.IsType(t, &packets.PubrecPacket{}, read(packets.Pubrec))
		pubrel := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
		pubrel.MessageID = 1
		require.NoError(t, pubrel.Write(conn))
		require.IsType(t, &packets.PubcompPacket{}, read(packets.Pubcomp))
	}
	conn, read := accept(false)
	suback := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	suback.MessageID, suback.ReturnCodes = read(packets.Subscribe).Details().MessageID, []byte{2}
	require.NoError(t, suback.Write(conn))
	publish(conn, "one")
	read(packets.Pubrec)
	require.NoError(t, conn.Close())

	conn, read = accept(true)
	publish(conn, "one") // again, and DUP is not set
	release(conn, read)
	publish(conn, "one") // new, with the content of the last
	release(conn, read)
	publish(conn, "two")
	read(packets.Pubrec)
	require.NoError(t, conn.Close())

	conn, read = accept(true)
	publish(conn, "three") // new, whatever the identifier stood for: the broker has lost that
	release(conn, read)
	got := <-subscribed
	eventually(t, 5*time.Second, "four messages", func() bool { return got.len() >= 4 })
	require.Equal(t, []string{"one", "one", "two", "three"}, got.payloads())
}
