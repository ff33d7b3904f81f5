package rpc_test

import (
	"errors"
	"testing"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// FuzzAnswer asks whether an answer can crash the client, or pass for a success without being one.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"result":508,"error":null,"id":7}`))
	f.Add(200, []byte(`{"result":{"mqtt_bob":[{"id":0,"time":1,"text":"x","fromMe":true,"from":"a","k":1}]},"error":null,"id":7}`))
	f.Add(200, []byte(`{"result":[{"p":{"seq":2,"v":{"bio":"x"}},"sig_user":"a"}],"error":null,"id":7}`))
	f.Add(500, []byte(`{"result":null,"error":{"code":-1,"message":"value is type str, expected int"},"id":7}`))
	f.Add(401, []byte("<html></html>"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var height int
		var lists map[string][]rpc.Message
		var torrent *rpc.TorrentStatus
		var anything any
		for _, result := range []any{&height, &lists, &torrent, &anything, nil} {
			err := rpc.ParseAnswer(status, body, 7, "getinfo", result)
			if err == nil && status != 200 {
				t.Fatalf("status %d is a success", status)
			}
			if err != nil && err.Error() == "" {
				t.Fatal("an error without a word")
			}
			var refused *rpc.Error
			if errors.As(err, &refused) && errors.Is(err, rpc.ErrUnknownOutcome) {
				t.Fatal("a refusal of unknown outcome")
			}
		}
	})
}
