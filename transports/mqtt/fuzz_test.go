package mqtt

import (
	"bufio"
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// FuzzReadPacket feeds the reader what a broker might send: it must not panic, and a PUBLISH that it takes must be written
// again as it was.
func FuzzReadPacket(f *testing.F) {
	whole, _ := encodePublish(Publication{Topic: "a/b", Payload: []byte("x"), QoS: 1, Retain: true}, 7)
	f.Add(whole)
	f.Add([]byte{packets.Pubrel<<4 | 2, 2, 0, 1})
	f.Add([]byte{packets.Publish << 4, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2 && data[1] >= 0x80 && data[2] >= 0x80 {
			data = bytes.Clone(data)
			data[2] &= 0x7f // else a length of megabytes, which is read as such
		}
		header, body, err := readPacket(bufio.NewReader(bytes.NewReader(data)), make([]byte, 128))
		if err != nil || header>>4 != packets.Publish {
			return
		}
		p, err := parsePublish(header, body)
		if err != nil || checkTopic(p.Topic) != nil {
			return
		}
		again, err := encodePublish(p, p.PacketID)
		if err != nil {
			t.Fatal(err)
		}
		if _, second, err := readPacket(bufio.NewReader(bytes.NewReader(again)), nil); err != nil || !bytes.Equal(second, body) {
			t.Fatalf("%x became %x", body, second)
		}
	})
}

// FuzzBrokerStore damages the built-in broker's log: it must open, keep what comes before the damage, and work.
func FuzzBrokerStore(f *testing.F) {
	log := seal(appendChange(nil, "r/a", []byte("1"), true))
	f.Add(append(log, seal(appendChange(nil, "r/b", []byte("2"), true))...), 20, byte(1))
	f.Fuzz(func(t *testing.T, tail []byte, at int, flip byte) {
		dir := t.TempDir()
		data := append(bytes.Clone(log), tail...)
		if at > len(log) && at < len(data) {
			data[at] ^= flip
		}
		if err := os.WriteFile(filepath.Join(dir, "broker.log"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openBrokerStore(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if s.entries["r/a"].order == 0 && len(tail) == 0 {
			t.Fatal("what came before the damage is lost")
		}
		s.put("r/new", []byte("3"))
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if s, err = openBrokerStore(dir, s.log); err != nil || string(s.entries["r/new"].value) != "3" {
			t.Fatal("not kept", err)
		}
		s.close()
	})
}

// Does a filter match as MQTT 4.7 says?
func TestFilterMatches(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"#", "a/b", true},
		{"#", "/", true},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"+/#", "a", true},
		{"a/+", "a", false},
		{"+", "a", true},
		{"+", "", true},
		{"+/+", "/", true},
		{"/+", "/a", true},
		{"+", "/a", false},
		{"a/+/c", "a//c", true},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"$share/g/a/#", "a/b", true},
	} {
		if got := filterMatches(c.filter, c.topic); got != c.want {
			t.Errorf("%q on %q: %v", c.filter, c.topic, got)
		}
	}
}
