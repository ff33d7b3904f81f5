package mqtt_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/mqtt"
)

// wire is a client that sees the packets themselves, of MQTT 3.1.1 or 5.
type wire struct {
	t       *testing.T
	version byte
	conn    net.Conn
	r       *bufio.Reader
}

// dialWire connects as the user, whose password is its name, and returns the return code.
func dialWire(t *testing.T, addr string, version byte, id, user string, change func(*packets.Packet)) (*wire, byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	w := &wire{t, version, conn, bufio.NewReader(conn)}
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true, Keepalive: 60,
		UsernameFlag: true, PasswordFlag: true, Username: []byte(user), Password: []byte(user),
	}}
	if change != nil {
		change(&p)
	}
	w.send(p.ConnectEncode, &p)
	return w, w.read(packets.Connack).ReasonCode
}

func (w *wire) send(encode func(*bytes.Buffer) error, p *packets.Packet) {
	w.t.Helper()
	p.ProtocolVersion = w.version
	var b bytes.Buffer
	require.NoError(w.t, encode(&b))
	_, err := w.conn.Write(b.Bytes())
	require.NoError(w.t, err)
}

// read returns the next packet, which must be of that type and of the client's version.
func (w *wire) read(kind byte) packets.Packet {
	w.t.Helper()
	require.NoError(w.t, w.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	first, err := w.r.ReadByte()
	require.NoError(w.t, err)
	require.Equal(w.t, packets.PacketNames[kind], packets.PacketNames[first>>4])
	length, _, err := packets.DecodeLength(w.r)
	require.NoError(w.t, err)
	body := make([]byte, length)
	_, err = io.ReadFull(w.r, body)
	require.NoError(w.t, err)
	p := packets.Packet{ProtocolVersion: w.version, FixedHeader: packets.FixedHeader{Type: kind, Qos: first >> 1 & 3, Remaining: length}}
	decode := map[byte]func([]byte) error{
		packets.Connack: p.ConnackDecode, packets.Suback: p.SubackDecode, packets.Publish: p.PublishDecode,
		packets.Puback: p.PubackDecode, packets.Pubrec: p.PubrecDecode, packets.Pubrel: p.PubrelDecode, packets.Pubcomp: p.PubcompDecode,
		packets.Pingresp: func([]byte) error { return nil },
	}
	require.NoError(w.t, decode[kind](body))
	return p
}

func (w *wire) publish(topic string, qos byte, id uint16) {
	w.t.Helper()
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic, PacketID: id, Payload: []byte(topic)}
	w.send(p.PublishEncode, &p)
}

// subscribe returns the reason codes.
func (w *wire) subscribe(filters ...string) []byte {
	w.t.Helper()
	return w.subscribeAt(1, 1, filters...)
}

func (w *wire) subscribeAt(qos byte, id uint16, filters ...string) []byte {
	w.t.Helper()
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: id}
	for _, filter := range filters {
		p.Filters = append(p.Filters, packets.Subscription{Filter: filter, Qos: qos})
	}
	w.send(p.SubscribeEncode, &p)
	answer := w.read(packets.Suback)
	require.Equal(w.t, id, answer.PacketID)
	return answer.ReasonCodes
}

var site = []mqtt.User{
	{Name: "sensor", Password: "sensor", Read: []string{}, Write: []string{"doors/#"}},
	{Name: "reader", Password: "reader", Read: []string{"open/+/x", "$SYS/#"}},
	{Name: "panel", Password: "panel"},
}

func startLoggedBroker(t *testing.T, level slog.Level, cfg mqtt.BrokerConfig, prepare ...func(*mqtt.Broker)) (*mqtt.Broker, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	cfg.Listen = "127.0.0.1:0"
	b, err := mqtt.NewBroker(cfg, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level})))
	require.NoError(t, err)
	for _, do := range prepare {
		do(b)
	}
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() { b.Close() })
	return b, log
}

// A client publishes where it has no right. Is the message dropped, said so in words of its own version, and does the connection
// live on? Mosquitto acknowledges to clients of 3.1.1 too.
func TestPublishingWithoutRightIsAnsweredAsTheVersionAllows(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{Users: site})
			got := subscribe(t, session(t, config(b.URL(), "own"), nil), "#")
			w, code := dialWire(t, b.Addr(), version, "door-7", "sensor", nil)
			require.Zero(t, code)
			want := byte(0)
			if version == 5 {
				want = packets.ErrNotAuthorized.Code
			}
			w.publish("secret", 0, 0)
			w.publish("secret", 1, 1)
			require.Equal(t, want, w.read(packets.Puback).ReasonCode)
			w.publish("secret", 2, 2)
			require.Equal(t, want, w.read(packets.Pubrec).ReasonCode)
			if version < 5 {
				p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel, Qos: 1}, PacketID: 2}
				w.send(p.PubrelEncode, &p)
				w.read(packets.Pubcomp)
			}
			w.publish("doors/7", 1, 3)
			require.Zero(t, w.read(packets.Puback).ReasonCode)
			eventually(t, 5*time.Second, "what it may publish", func() bool { return got.len() > 0 })
			require.Equal(t, []string{"doors/7"}, got.payloads())
			require.EqualValues(t, 3, b.Report().Dropped["not_authorized"])
			require.Equal(t, 1, strings.Count(log.String(), "their user may not publish"), log)
			require.Contains(t, log.String(), "client=door-7 user=sensor topic=secret")
		})
	}
}

// Is a topic alias of MQTT 5 judged by the topic that it stands for?
func TestTopicAliasIsJudgedByItsTopic(t *testing.T) {
	b, _ := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{Users: site})
	w, _ := dialWire(t, b.Addr(), 5, "door-7", "sensor", nil)
	for i, tt := range []struct {
		topic string
		alias uint16
		want  byte
	}{{"doors/7", 1, 0x10}, {"", 1, 0x10}, {"secret", 2, 0x87}, {"", 2, 0x87}} { // 0x10: nobody subscribes
		p := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: tt.topic, PacketID: uint16(i + 1)}
		p.Properties.TopicAlias, p.Properties.TopicAliasFlag = tt.alias, true
		w.send(p.PublishEncode, &p)
		if got := w.read(packets.Puback).ReasonCode; got != tt.want && (got != 0 && got != 1 || tt.want == 0x87) {
			t.Errorf("%q as alias %d: reason %#x", tt.topic, tt.alias, got)
		}
	}
}

// Is a client refused whose will its user may not publish?
func TestWillWithoutRightIsRefused(t *testing.T) {
	b, _ := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{Users: site})
	for _, tt := range []struct {
		version, code byte
		topic         string
	}{{4, 5, "secret"}, {5, 0x87, "secret"}, {4, 0, "doors/7"}, {5, 0, "doors/7"}} {
		_, code := dialWire(t, b.Addr(), tt.version, "door-7", "sensor", func(p *packets.Packet) {
			p.Connect.WillFlag, p.Connect.WillTopic, p.Connect.WillPayload = true, tt.topic, []byte("gone")
		})
		require.Equal(t, tt.code, code, "version %d, will on %s", tt.version, tt.topic)
	}
}

// Is a subscription refused to a user who could receive nothing of it, and granted where there may be something?
func TestSubscriptionThatCanReadNothingIsRefused(t *testing.T) {
	b, _ := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{Users: site})
	for version, refused := range map[byte]byte{4: 0x80, 5: 0x87} {
		ask := func(user string, filters ...string) []byte {
			w, code := dialWire(t, b.Addr(), version, user, user, nil)
			require.Zero(t, code)
			return w.subscribe(filters...)
		}
		require.Equal(t, []byte{refused, refused, refused}, ask("sensor", "#", "doors/7", "$share/g/#"))
		require.Equal(t, []byte{1, 1, 1, 1, 1, refused, refused, refused},
			ask("reader", "#", "open/#", "open/a/+", "$SYS/#", "$share/g/+/+/x", "open/a", "other/#", "$weft/#"))
		require.Equal(t, []byte{1, 1}, ask("panel", "#", "doors/7"))
	}
}

// What the broker says of its clients: does each line have words, the client's name, and no secret?
func TestBrokerLogNamesWhoAndWhat(t *testing.T) {
	b, log := startLoggedBroker(t, slog.LevelDebug, mqtt.BrokerConfig{Users: site})
	for range 2 {
		_, code := dialWire(t, b.Addr(), 4, "guest-1", "panel", func(p *packets.Packet) { p.Connect.Password = []byte("s3cret") })
		require.EqualValues(t, 5, code)
	}
	for range 2 {
		w, _ := dialWire(t, b.Addr(), 4, "odd-1", "panel", nil)
		_, err := w.conn.Write([]byte{0x36, 4, 0, 1, 'a', 0}) // QoS 3 [MQTT-3.3.1-4]
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, w.r)
		require.NoError(t, err)
	}
	w, err := net.Dial("tcp", b.Addr())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	eventually(t, 5*time.Second, "lines for the two clients, once each", func() bool {
		return strings.Count(log.String(), `level=WARN msg="built-in broker: client refused: bad user name or password" client=guest-1@127.0.0.1 user=panel`) == 1 &&
			strings.Count(log.String(), `level=WARN msg="built-in broker: client disconnected: it does not keep to MQTT" client=odd-1`) == 1 &&
			strings.Contains(log.String(), `level=DEBUG msg="built-in broker: connection ended"`)
	})
	assert.NotContains(t, log.String(), `msg=""`)
	assert.NotContains(t, log.String(), "s3cret")
	for line := range strings.Lines(log.String()) {
		assert.Contains(t, line, `msg="built-in broker: `)
	}
}

// A client does not read. Are the messages at QoS 0 that are dropped for it counted, and is it named once?
func TestSlowClientIsNamedWhenMessagesAreDropped(t *testing.T) {
	b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{Users: site})
	w, _ := dialWire(t, b.Addr(), 4, "sleepy", "panel", nil)
	w.subscribe("big")
	own := session(t, config(b.URL(), "own"), nil)
	payload := strings.Repeat("x", 1<<20)
	eventually(t, 30*time.Second, "drops", func() bool {
		require.NoError(t, own.Publish("", raw("big", payload, 0)))
		return b.Report().Dropped["slow_client"] > 2
	})
	require.Equal(t, 1, strings.Count(log.String(), "messages at QoS 0 are dropped"), "once")
	require.Contains(t, log.String(), "client=sleepy")
}

// More messages come for a session than it can hold. Are those beyond counted, and is the client named once?
func TestFullSessionIsNamedWhenMessagesAreDropped(t *testing.T) {
	const limit, beyond = 100, 10 // the limit is 60,000, which would take the race detector minutes
	b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{}, func(b *mqtt.Broker) { mqtt.LimitSessions(b, limit) })
	w, _ := dialWire(t, b.Addr(), 4, "vacationer", "panel", func(p *packets.Packet) { p.Connect.Clean = false })
	w.subscribe("a")
	require.NoError(t, w.conn.Close())
	own := session(t, config(b.URL(), "own"), nil)
	for range limit + beyond {
		require.NoError(t, own.Publish("", raw("a", "x", 1)))
	}
	require.EqualValues(t, beyond, b.Report().Dropped["session_full"])
	require.Equal(t, 1, strings.Count(log.String(), "acknowledged messages are dropped"), "once")
	require.Contains(t, log.String(), "client=vacationer")
}
