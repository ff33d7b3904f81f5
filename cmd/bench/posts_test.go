//go:build linux

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/transports/twister"
)

// A post is what is scarce in Twister. Do the readings of twenty messages and more share one, where the format of the bridge that Weft
// began as has one each?
func TestTwentyReadingsShareADirectMessage(t *testing.T) {
	g := newGenerator(64)
	f := &frame.Frame{Lane: 1, Epoch: 1}
	for n := range 20 {
		f.Messages = append(f.Messages, frame.Message{
			Seq: uint64(n + 1), Topic: "sensors/kitchen", QoS: 1, Time: time.Unix(1_800_000_000, 0), Payload: slices.Clone(g.next(n, time.Duration(n)*time.Millisecond)),
		})
	}
	unit := (*twister.Transport)(nil).Unit()
	require.Positive(t, unit)
	require.LessOrEqual(t, len(frame.Plain("mqtt_alice", f)), unit)
}
