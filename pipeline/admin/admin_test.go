package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/admin"
	"github.com/weft-relay/weft/transports"
)

// node is one with a mesh.
type node struct {
	metrics []transports.Metric
	status  *pipeline.Status // in place of one with the metrics
}

func (n node) Status() pipeline.Status {
	if n.status != nil {
		return *n.status
	}
	return pipeline.Status{Transports: map[string]pipeline.Report{"sea": {Metrics: n.metrics}}}
}

func (node) Ping(_ context.Context, peer, transport string) (pipeline.Echo, error) {
	switch peer {
	case "bob":
		return pipeline.Echo{Peer: peer, Transport: transport, Time: time.Millisecond}, nil
	case "carol":
		return pipeline.Echo{}, errors.New("carol is not connected")
	case "dave":
		return pipeline.Echo{}, fmt.Errorf("transport sea: %w", context.DeadlineExceeded)
	}
	return pipeline.Echo{}, fmt.Errorf("%w as %q", pipeline.ErrNoPeer, peer)
}

func serve(t *testing.T, n node) (get func(page string) (int, string)) {
	t.Helper()
	s := admin.New("127.0.0.1:0", n, slog.New(slog.DiscardHandler))
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return func(page string) (int, string) {
		resp, err := http.Get("http://" + s.Addr() + page)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
}

func TestPingAnswersOrSaysWhyNot(t *testing.T) {
	get := serve(t, node{})
	for _, tt := range []struct {
		page string
		code int
		body string
	}{
		{"bob/ping", 200, `{"peer": "bob", "transport": "", "time_ns": 1000000}`},
		{"bob/ping?transport=sea", 200, `{"peer": "bob", "transport": "sea", "time_ns": 1000000}`},
		{"carol/ping", 502, `{"error": "carol is not connected"}`},
		{"dave/ping", 502, `{"error": "dave does not answer within 5s"}`},
		{"no%20body/ping", 404, `{"error": "no such peer as \"no body\""}`},
	} {
		code, body := get("/api/v1/peers/" + tt.page)
		require.Equal(t, tt.code, code, tt.page)
		require.JSONEq(t, tt.body, body, tt.page)
	}
}

func TestFiguresOfATransportAreMetricsOfTheirKind(t *testing.T) {
	code, page := serve(t, node{metrics: []transports.Metric{
		{Name: "mesh_nodes", Help: "Nodes.", Of: map[string]float64{"": 3}},
		{Name: "mesh_sent_bytes_total", Help: "Bytes.", Counter: true, Label: "protocol", Of: map[string]float64{"/weft/direct/1": 7, "\xff": 1}},
	}})("/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, line := range []string{
		"# HELP weft_transport_mesh_nodes Nodes.",
		"# TYPE weft_transport_mesh_nodes gauge",
		`weft_transport_mesh_nodes{transport="sea"} 3`,
		"# TYPE weft_transport_mesh_sent_bytes_total counter",
		`weft_transport_mesh_sent_bytes_total{protocol="/weft/direct/1",transport="sea"} 7`,
		`weft_transport_mesh_sent_bytes_total{protocol="?",transport="sea"} 1`,
	} {
		require.Contains(t, page, "\n"+line+"\n")
	}
}

// A trouble that stops nothing yet is told where people and machines look, and makes no node unready.
func TestReadyNodeTellsWhatWillBeWrong(t *testing.T) {
	s := &pipeline.Status{Transports: map[string]pipeline.Report{
		"hub":  {State: transports.Up},
		"bird": {State: transports.Up, Detail: "user_data of twisterd is near its limit"},
	}}
	get := serve(t, node{status: s})
	code, body := get("/readyz")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ready\ntransport bird: user_data of twisterd is near its limit\n", body)
	s.Problems = []string{"broker is connecting"}
	code, body = get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "broker is connecting\n", body)
}
