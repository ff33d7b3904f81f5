package rpc

import (
	"context"
	"errors"
	"math"
)

// Info is what getinfo tells of the daemon's state.
type Info struct {
	Version     int `json:"version"`
	Blocks      int `json:"blocks"`      // height of the best block
	Connections int `json:"connections"` // peers of the block chain; without one the torrents are paused
	DHTNodes    int `json:"dht_nodes"`
	// DHTTorrents is nil while the daemon warms up: without a torrent session calls succeed and do nothing.
	DHTTorrents *int `json:"dht_torrents"`
	Peers       int  `json:"num_peers"`
	// UnlockedUntil is nil for a wallet without a passphrase, and 0 for a locked one.
	UnlockedUntil *int64 `json:"unlocked_until"`
	PublicServer  bool   `json:"public_server_mode"`
	Errors        string `json:"errors"`
}

// HasSession reports whether the torrent session exists, so that calls take effect.
func (i Info) HasSession() bool { return i.DHTTorrents != nil }

// Locked reports whether the wallet must be unlocked before anything can be sent.
func (i Info) Locked() bool { return i.UnlockedUntil != nil && *i.UnlockedUntil == 0 }

// TorrentStatus is what torrentstatus tells of one user's torrent on this daemon.
type TorrentStatus struct {
	State     int    `json:"state"`
	Paused    bool   `json:"paused"`
	Peers     int    `json:"num_peers"`
	ListPeers int    `json:"list_peers"`
	Pieces    int    `json:"num_pieces"`
	Bitfield  string `json:"bitfield"` // a 1 for each k that is here, from k 0 on
	// Connected are the peers that this daemon exchanges pieces of the torrent with.
	Connected []TorrentPeer `json:"peers"`
}

// TorrentPeer is another daemon that has a torrent.
type TorrentPeer struct {
	Bitfield string `json:"bitfield"` // a 1 for each k that is there
}

// CaughtUp reports whether a peer is connected and none has a piece that is not here.
func (t TorrentStatus) CaughtUp() bool {
	return len(t.Connected) > 0 && !t.Lacks(0, math.MaxInt)
}

// Lacks reports whether a connected peer has a piece that is not here, of those from a k to another inclusive.
func (t TorrentStatus) Lacks(from, to int) bool {
	for _, peer := range t.Connected {
		for k := max(from, 0); k <= min(to, len(peer.Bitfield)-1); k++ {
			if peer.Bitfield[k] == '1' && (k >= len(t.Bitfield) || t.Bitfield[k] != '1') {
				return true
			}
		}
	}
	return false
}

// Info asks for the daemon's state.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.call(ctx, &info, "getinfo")
	return info, err
}

// BlockCount returns the height of the best block.
func (c *Client) BlockCount(ctx context.Context) (int, error) {
	var height int
	err := c.call(ctx, &height, "getblockcount")
	return height, err
}

// UserID returns the number of a confirmed user, or ErrNoSuchUser: the test of whether a user exists.
func (c *Client) UserID(ctx context.Context, name string) (int, error) {
	var id int
	err := c.call(ctx, &id, "usernametouid", name)
	return id, err
}

// WalletUsers returns the users whose keys this daemon holds.
func (c *Client) WalletUsers(ctx context.Context) ([]string, error) {
	var names []string
	err := c.call(ctx, &names, "listwalletusers")
	return names, err
}

// ValidName reports whether a user of that name can be registered.
func ValidName(name string) bool {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 16
}

// CreateWalletUser makes a key for name in the wallet. The daemon answers the secret key, which is dropped here. It would also keep
// a key for a name that can never be registered, so such a name is refused.
func (c *Client) CreateWalletUser(ctx context.Context, name string) error {
	if !ValidName(name) {
		return ErrBadName
	}
	return c.call(ctx, nil, "createwalletuser", name)
}

// SendNewUserTransaction asks the network to register the user whose key is in the wallet, and returns the transaction's id.
func (c *Client) SendNewUserTransaction(ctx context.Context, name string) (string, error) {
	var tx string
	err := c.call(ctx, &tx, "sendnewusertransaction", name)
	return tx, err
}

// Follow makes user follow names. The daemon leaves out unknown ones, and everything while it warms up, without a word.
func (c *Client) Follow(ctx context.Context, user string, names ...string) error {
	return c.call(ctx, nil, "follow", user, names)
}

// Following returns whom user follows; nobody while the daemon warms up.
func (c *Client) Following(ctx context.Context, user string) ([]string, error) {
	var names []string
	err := c.call(ctx, &names, "getfollowing", user)
	return names, err
}

// LastHave returns the highest k that this daemon has of each name, or of each that user follows. It is -1 where nothing is known,
// as for some twenty seconds after a start, and lags behind what was just sent by some milliseconds.
func (c *Client) LastHave(ctx context.Context, user string, names ...string) (map[string]int, error) {
	params := []any{user}
	if len(names) > 0 {
		params = append(params, names)
	}
	var have map[string]int
	err := c.call(ctx, &have, "getlasthave", params...)
	return have, err
}

// TorrentStatus returns the state of a user's torrent, and false if this daemon does not run it.
func (c *Client) TorrentStatus(ctx context.Context, user string) (TorrentStatus, bool, error) {
	var status *TorrentStatus
	err := c.call(ctx, &status, "torrentstatus", user)
	if err != nil || status == nil {
		return TorrentStatus{}, false, err
	}
	return *status, true, nil
}

// PieceAvailability returns how many other daemons are known to have the piece k of a user; 0 too for a torrent that does not run here.
func (c *Client) PieceAvailability(ctx context.Context, user string, k int) (int, error) {
	var daemons int
	err := c.call(ctx, &daemons, "getpieceavailability", user, k)
	return daemons, err
}

// clarify tells a sender who is not confirmed from one whose posts are spent: the daemon has the same words for both.
func (c *Client) clarify(ctx context.Context, user string, err error) error {
	refused, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, ErrBudgetSpent) {
		return err
	}
	if _, lookup := c.UserID(ctx, user); errors.Is(lookup, ErrNoSuchUser) {
		refused.kind = ErrNotConfirmed
	}
	return err
}
