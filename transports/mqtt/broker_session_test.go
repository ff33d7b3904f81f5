package mqtt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weft-relay/weft/transports/mqtt"
)

// What waits in a session is not for everybody who may connect. Does it stay its user's, whatever identifier another user gives?
func TestSessionBelongsToItsUser(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{Users: site})
			panel, _ := dialWire(t, b.Addr(), version, "panel1", "panel", func(p *packets.Packet) { p.Connect.Clean = false })
			panel.subscribe("secret/#")
			_, code := dialWire(t, b.Addr(), version, "panel1", "sensor", nil)
			require.Equal(t, map[byte]byte{4: 2, 5: 0x85}[version], code) // identifier rejected
			require.Contains(t, log.String(), "belongs to another user")
			require.NoError(t, session(t, config(b.URL(), "own"), nil).Publish("", raw("secret/1", "x", 1)))
			require.Equal(t, "x", string(panel.read(packets.Publish).Payload), "the connection was left alone")
		})
	}
}

// Without users everybody may do everything. But is the session of the process itself safe from a client of its identifier?
func TestOwnSessionCannotBeTakenOver(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	own := session(t, config(b.URL(), "weft-alice"), nil)
	subscribe(t, own, "doors/#")
	_, code := dialWire(t, b.Addr(), 4, "weft-alice", "anybody", nil)
	require.EqualValues(t, 2, code)
	require.NoError(t, own.Close())
	require.NoError(t, b.Close())

	b = startBroker(t, mqtt.BrokerConfig{DataDir: dir}) // as another process
	_, code = dialWire(t, b.Addr(), 4, "weft-alice", "anybody", nil)
	require.EqualValues(t, 2, code)
	got := subscribe(t, session(t, config(b.URL(), "weft-alice"), nil), "doors/#")
	require.NoError(t, session(t, config(b.URL(), "sender"), nil).Publish("", raw("doors/1", "open", 1)))
	eventually(t, 5*time.Second, "the message", func() bool { return got.len() == 1 })
}

// Does the broker listen again after it had no file for another connection, and end connections that never say anything?
func TestListenerOutlivesALackOfFiles(t *testing.T) {
	b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{})
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	restore := func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }
	t.Cleanup(restore)
	few := limit
	few.Cur = uint64(len(files) + 20)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	var silent []net.Conn
	for !strings.Contains(log.String(), "no connection can be taken") {
		conn, err := net.DialTimeout("tcp", b.Addr(), time.Second)
		if err != nil {
			break // this process is the client too: whichever comes first to have no file
		}
		silent = append(silent, conn)
	}
	for len(silent) > 0 { // one fewer each time, until the broker is what lacks a file
		silent[0].Close()
		silent = silent[1:]
	}
	restore()
	require.NoError(t, session(t, config(b.URL(), "later"), nil).Publish("", raw("a", "x", 1)))
}

// A session of MQTT 5 has expired. Is all of it gone, for a new one of the same name and for the disk?
func TestExpiredSessionLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	w, _ := dialWire(t, b.Addr(), 5, "brief", "panel", func(p *packets.Packet) {
		p.Properties.SessionExpiryInterval, p.Properties.SessionExpiryIntervalFlag = 1, true
	})
	w.subscribe("q")
	require.NoError(t, w.conn.Close())
	own := session(t, config(b.URL(), "own"), nil)
	for range 20 {
		require.NoError(t, own.Publish("", raw("q", strings.Repeat("x", 10_000), 1)))
	}
	eventually(t, 20*time.Second, "the session's end", func() bool {
		require.NoError(t, own.Publish("", retained("tick", fmt.Sprint(time.Now()), 1))) // so that the log is written
		file, err := os.ReadFile(filepath.Join(dir, "broker.log"))
		require.NoError(t, err)
		return bytes.Contains(file, []byte("c/brief")) && bytes.LastIndex(file, []byte("-\x07\x00c/brief")) > 0
	})
	require.NoError(t, own.Close())
	require.NoError(t, b.Close())
	startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	file, err := os.ReadFile(filepath.Join(dir, "broker.log"))
	require.NoError(t, err)
	require.NotContains(t, string(file), "brief")
}

// Does what waits for one client end at session_bytes, and is that said, while others get everything?
func TestSessionHoldsSoManyBytes(t *testing.T) {
	dir := t.TempDir()
	b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{DataDir: dir, SessionBytes: 100_000})
	w := away(t, b.Addr(), 4, "vacationer")
	w.subscribeAt(1, 1, "a")
	require.NoError(t, w.conn.Close())
	present := subscribe(t, session(t, config(b.URL(), "present"), nil), "a")
	own := session(t, config(b.URL(), "own"), nil)
	const n = 30
	for range n {
		require.NoError(t, own.Publish("", raw("a", strings.Repeat("x", 10_000), 1)))
	}
	eventually(t, 5*time.Second, "all messages", func() bool { return present.len() == n })
	require.EqualValues(t, n-10, b.Report().Dropped["session_full"])
	require.Equal(t, 1, strings.Count(log.String(), "too many bytes wait"))

	require.NoError(t, b.Close())
	b = startBroker(t, mqtt.BrokerConfig{DataDir: dir, SessionBytes: 100_000}) // what waits counts after a restart too
	own = session(t, config(b.URL(), "own"), nil)
	require.NoError(t, own.Publish("", raw("a", "one more", 1)))
	require.EqualValues(t, 1, b.Report().Dropped["session_full"])
	w = away(t, b.Addr(), 4, "vacationer")
	var waiting []uint16
	for range 10 {
		waiting = append(waiting, w.read(packets.Publish).PacketID)
	}
	require.Equal(t, []byte{1}, w.subscribeAt(1, 1, "b"), "a full session may subscribe, to a single topic too")
	for _, id := range waiting {
		w.ack(packets.Puback, id)
	}
	ping := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}
	w.send(ping.PingreqEncode, &ping)
	w.read(packets.Pingresp) // the acknowledgements have been taken
	require.NoError(t, own.Publish("", raw("a", "room again", 1)))
	require.Equal(t, "room again", string(w.read(packets.Publish).Payload))
}

// Does a second broker with the same folder leave it alone?
func TestFolderOfABrokerIsItsOwn(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	second, err := mqtt.NewBroker(mqtt.BrokerConfig{Listen: "127.0.0.1:0", DataDir: dir}, discard())
	require.NoError(t, err)
	require.ErrorContains(t, second.Start(t.Context()), "in use by another broker")
	require.NoError(t, session(t, config(b.URL(), "own"), nil).Publish("", retained("r", "kept", 1)))
	require.NoError(t, b.Close())
	b = startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	got := subscribe(t, session(t, config(b.URL(), "reader"), nil), "r")
	eventually(t, 5*time.Second, "the retained message", func() bool { return got.len() == 1 })
}

// A bit of a length in the log has changed, so that the record seems to go on beyond the end. Is what follows it kept for a person to look at?
func TestDamagedLengthSetsTheLogAside(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	own := session(t, config(b.URL(), "own"), nil)
	for i := range 10 {
		require.NoError(t, own.Publish("", retained(fmt.Sprint("r/", i), "value", 1)))
	}
	require.NoError(t, own.Close())
	require.NoError(t, b.Close())
	path := filepath.Join(dir, "broker.log")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	second := 8 + binary.LittleEndian.Uint32(data)
	data[second+2] ^= 0x40
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{DataDir: dir})
	require.Contains(t, log.String(), "end of the log is left out")
	require.Contains(t, log.String(), fmt.Sprintf("bytes=%d", len(data)-int(second)))
	kept, err := os.ReadFile(path + ".damaged")
	require.NoError(t, err)
	require.Equal(t, data, kept)
}

// Does a client of 3.1.1 whose session another connection takes over see its connection end, and no packet that it does not know?
func TestTakenOverClientIsSentNothingUnknown(t *testing.T) {
	b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{})
	first := away(t, b.Addr(), 4, "twin")
	away(t, b.Addr(), 4, "twin")
	require.NoError(t, first.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := first.r.ReadByte()
	require.ErrorContains(t, err, "EOF")
	require.Contains(t, log.String(), "takes the session over")
}

// Users are added to a broker that had none. May its clients connect all the same, and what waited for whoever they were is gone?
func TestSessionsOfNobodyEndWhenThereAreUsers(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	w := away(t, b.Addr(), 4, "panel1")
	w.subscribeAt(1, 1, "secret/#")
	require.NoError(t, w.conn.Close())
	require.NoError(t, b.Close())
	users := []mqtt.User{{Name: "someone", Password: "someone"}}
	b, log := startLoggedBroker(t, slog.LevelInfo, mqtt.BrokerConfig{DataDir: dir, Users: users})
	require.Contains(t, log.String(), "session ended, its user is there no more")
	require.NoError(t, session(t, config(b.URL(), "own"), nil).Publish("", raw("secret/1", "x", 1), raw("open", "y", 1)))
	w, code := dialWire(t, b.Addr(), 4, "panel1", "someone", func(p *packets.Packet) { p.Connect.Clean = false })
	require.Zero(t, code)
	require.Equal(t, []byte{1}, w.subscribeAt(1, 1, "open"))
}

// The log ends in a torn write, and at the start there is no room for a new one. Is all that it holds there at the next start?
func TestTornLogSurvivesAStartThatFails(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	require.NoError(t, session(t, config(b.URL(), "own"), nil).Publish("", retained("r", "kept", 1)))
	require.NoError(t, b.Close())
	path := filepath.Join(dir, "broker.log")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.Write([]byte{100, 0, 0, 0, 1, 2, 3, 4, 5})
	require.NoError(t, errors.Join(err, file.Close()))
	require.NoError(t, os.Mkdir(path+".new", 0o700)) // in the place of the new log
	second, err := mqtt.NewBroker(mqtt.BrokerConfig{Listen: "127.0.0.1:0", DataDir: dir}, discard())
	require.NoError(t, err)
	require.Error(t, second.Start(t.Context()))
	require.NoError(t, os.RemoveAll(path+".new"))
	b = startBroker(t, mqtt.BrokerConfig{DataDir: dir})
	got := subscribe(t, session(t, config(b.URL(), "reader"), nil), "r")
	eventually(t, 5*time.Second, "the retained message", func() bool { return got.len() == 1 })
}

// The relay's own session is away while its broker takes more than session_bytes. Does it get everything all the same?
func TestOwnSessionHasNoLimitInBytes(t *testing.T) {
	b := startBroker(t, mqtt.BrokerConfig{DataDir: t.TempDir(), SessionBytes: 10_000})
	store := mqtt.NewMemoryStore()
	relay := session(t, config(b.URL(), "relay"), store)
	subscribe(t, relay, "a")
	require.NoError(t, relay.Close())
	own := session(t, config(b.URL(), "own"), nil)
	for range 30 {
		require.NoError(t, own.Publish("", raw("a", strings.Repeat("x", 1000), 1)))
	}
	again, err := mqtt.New(config(b.URL(), "relay"), store, nil, discard())
	require.NoError(t, err)
	t.Cleanup(func() { again.Close() })
	got := subscribe(t, again, "a")
	require.NoError(t, again.Start(t.Context()))
	eventually(t, 10*time.Second, "all messages", func() bool { return got.len() == 30 })
}
