package admin_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/admin"
	"github.com/weft-relay/weft/transports"
)

// A trouble that stops nothing yet is told where people and machines look, and makes no node unready.
func TestReadyNodeTellsWhatWillBeWrong(t *testing.T) {
	s := pipeline.Status{Transports: map[string]pipeline.Report{
		"hub": {State: transports.Up}, "bird": {State: transports.Up, Detail: "user_data of twisterd is near its limit"},
	}}
	server := admin.New("127.0.0.1:0", func() pipeline.Status { return s }, slog.New(slog.DiscardHandler))
	require.NoError(t, server.Start(t.Context()))
	defer server.Close()
	get := func() (int, string) {
		resp, err := http.Get("http://" + server.Addr() + "/readyz")
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	code, body := get()
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ready\ntransport bird: user_data of twisterd is near its limit\n", body)
	s.Problems = []string{"broker is connecting"}
	code, body = get()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "broker is connecting\n", body)
}
