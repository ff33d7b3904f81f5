package twister_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister"
)

func TestConfigErrorsNameTheKey(t *testing.T) {
	for key, change := range map[string]func(*twister.Config){
		"url":           func(c *twister.Config) { c.URL = "http://127.0.0.1:28332" },
		"user":          func(c *twister.Config) { c.User = "Alice" },
		"user: req":     func(c *twister.Config) { c.User = "" },
		"poll: 0s":      func(c *twister.Config) { c.Poll = 0 },
		"margin: 0":     func(c *twister.Config) { c.Margin = 0 },
		"follow":        func(c *twister.Config) { c.Follow = "always" },
		"format":        func(c *twister.Config) { c.Format = "json" },
		"receipts":      func(c *twister.Config) { c.Format, c.Receipts = "seed", "on" },
		"poll":          func(c *twister.Config) { c.Poll = -time.Second },
		"poll: 49ms":    func(c *twister.Config) { c.Poll = 49 * time.Millisecond },
		"receipt_delay": func(c *twister.Config) { c.ReceiptDelay = 0 },
		"resend_after":  func(c *twister.Config) { c.ResendAfter = 0 },
		"profile_poll":  func(c *twister.Config) { c.ProfilePoll = -1 },
		"margin":        func(c *twister.Config) { c.Margin = -1 },
	} {
		c := twister.Config{URL: "http://user:secret@127.0.0.1:28332", User: "alice"}
		c.SetDefaults()
		require.NoError(t, c.Validate())
		change(&c)
		err := c.Validate()
		require.Error(t, err, key)
		require.True(t, strings.HasPrefix(err.Error(), key), "%s: %v", key, err)
		require.NotContains(t, err.Error(), "secret")
	}
	seed := twister.Config{URL: "http://user:secret@127.0.0.1:28332", User: "alice", Format: "seed"}
	seed.SetDefaults()
	require.NoError(t, seed.Validate(), "it has no receipts, and needs not to say so")
	seed.Receipts = "on"
	require.ErrorContains(t, seed.Validate(), "receipts: ")
}

func TestTransportNeedsAFolderAndPeersThatCanExist(t *testing.T) {
	_, err := twister.New(twister.Config{URL: "http://user:secret@127.0.0.1:28332", User: "alice", Peers: []string{"Bob"}}, quiet())
	require.ErrorContains(t, err, "folder")
	require.Equal(t, 1, strings.Count(err.Error(), `peer "Bob"`), "once, though he is read as well as sent to")
}
