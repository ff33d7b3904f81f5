package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
)

// Does a node say what is wrong, in all the places that people and machines look at, and say so when it is right again?
func TestNodeTellsWhichPartIsDown(t *testing.T) {
	m, alice, _ := pair(t)
	m.start()
	healthy := func() {
		t.Helper()
		code, _, err := alice.node.get("/healthz")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code)
	}
	healthy()
	unready := func(part string) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			code, body, err := alice.node.get("/readyz")
			if err == nil && (code != http.StatusServiceUnavailable || !strings.HasPrefix(body, part+" is ")) {
				err = fmt.Errorf("/readyz says %d %q, not that %s is down", code, body, part)
			}
			return err
		})
		healthy()
		out, err := exec.Command(weftBin, "status", "-c", alice.node.file).CombinedOutput()
		require.Error(t, err, "weft status exits with 1 when something is wrong")
		require.Contains(t, string(out), "connecting")
	}

	m.nats.kill()
	unready("transport hub")
	m.nats.start()
	alice.node.awaitReady()

	alice.broker.kill()
	unready("broker")
	alice.broker.start()
	alice.node.awaitReady()
	out, err := exec.Command(weftBin, "status", "-c", alice.node.file).CombinedOutput()
	require.NoError(t, err, "weft status: %s", out)
	s, err := alice.node.status()
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Broker.Reconnects)
	require.EqualValues(t, 1, s.Transports["hub"].Reconnects)
}

// Do the metrics tell the same as the status?
func TestMetricsAgreeWithStatus(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	r := newRecord(t, bob.broker.addr, "doors/#", 1)
	l := newLoad(t, alice.broker.addr, "doors", 1)
	require.NoError(t, l.publish(t.Context(), 500))
	r.awaitAll(t, l, 20*time.Second)
	alice.node.awaitEmpty(5 * time.Second)
	_, page, err := alice.node.get("/metrics")
	require.NoError(t, err)
	for _, line := range []string{
		`weft_up{part="broker"} 1`,
		`weft_up{part="hub"} 1`,
		`weft_taken_messages_total 500`,
		`weft_lane_in_messages_total{lane="all/bob"} 500`,
		`weft_lane_delivered_messages_total{lane="all/bob"} 500`,
		`weft_lane_depth{lane="all/bob"} 0`,
	} {
		require.Contains(t, page, "\n"+line+"\n")
	}
	bob.node.await(5*time.Second, func(s pipeline.Status) error {
		if s.Incoming.Delivered != 500 {
			return fmt.Errorf("bob has delivered %d of 500", s.Incoming.Delivered)
		}
		return state("broker", s.Broker, transports.Up)
	})
}
