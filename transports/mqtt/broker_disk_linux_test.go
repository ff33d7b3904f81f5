package mqtt_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// limitFiles bounds the size of every file that this process writes. Beyond it a write fails as it does on a full disk.
func limitFiles(t *testing.T, bytes uint64) {
	t.Helper()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}))
}

// The disk of the built-in broker is full for a while. Is nothing acknowledged meanwhile, does it say so once, does QoS 0 go
// on, and does everything arrive when there is room again, at QoS 2 exactly once?
func TestBuiltInBrokerWaitsForAFullDisk(t *testing.T) {
	log, dir := &logBuffer{}, t.TempDir()
	broker, err := mqtt.NewBroker(mqtt.BrokerConfig{Listen: "127.0.0.1:0", DataDir: dir}, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	require.NoError(t, broker.Start(t.Context()))
	t.Cleanup(func() { broker.Close() })
	got := subscribe(t, session(t, config(broker.URL(), "receiver"), nil), "a")
	heard := subscribe(t, session(t, config(broker.URL(), "hearer"), nil), "loose")
	loose := session(t, config(broker.URL(), "loose"), nil)
	require.NoError(t, loose.Publish("", raw("loose", "first", 1)))
	sender := session(t, config(broker.URL(), "sender"), nil)
	require.NoError(t, sender.Publish("", raw("a", "0", 2)))
	require.Equal(t, transports.Up, broker.Report().State)

	stat, err := os.Stat(filepath.Join(dir, "broker.log"))
	require.NoError(t, err)
	limitFiles(t, uint64(stat.Size())+64<<10)
	t.Cleanup(func() { limitFiles(t, unix.RLIM_INFINITY) })
	const n = 200
	var msgs []*message.Message
	for i := 1; i < n; i++ {
		msgs = append(msgs, raw("a", fmt.Sprintf("%d%s", i, strings.Repeat(" ", 2000)), 2))
	}
	done := make(chan error, 1)
	go func() { done <- sender.Publish("", msgs...) }()
	eventually(t, 20*time.Second, "a stalled report", func() bool { return broker.Report().State == transports.Stalled })
	assert.Contains(t, broker.Report().Detail, "make room on that disk")
	eventually(t, 20*time.Second, "the refusal", func() bool {
		return strings.Contains(sender.Report().Detail, "broker refused: server unavailable")
	})
	require.NoError(t, loose.Publish("", raw("loose", "still", 0)))
	eventually(t, 5*time.Second, "the message at QoS 0", func() bool { return heard.len() == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // some attempts
	defer cancel()
	late := message.NewMessageWithContext(ctx, "late", []byte("late"))
	late.Metadata = raw("late", "late", 1).Metadata
	require.Error(t, session(t, config(broker.URL(), "late"), nil).Publish("", late), "nothing is acknowledged")
	require.Empty(t, done, "nothing is acknowledged")

	limitFiles(t, unix.RLIM_INFINITY)
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the broker does not go on")
	}
	eventually(t, 20*time.Second, "everything", func() bool { return got.len() >= n })
	for i, payload := range got.payloads() {
		require.Equal(t, fmt.Sprint(i), strings.TrimSpace(payload))
	}
	assert.Equal(t, transports.Up, broker.Report().State)
	assert.Equal(t, 1, strings.Count(log.String(), "the disk takes nothing"), log)
	assert.Equal(t, 1, strings.Count(log.String(), "the disk takes writes again"), log)
}
