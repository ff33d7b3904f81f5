package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// What twisterd suffers from without saying so.
var (
	errAlone = errors.New("twisterd has no peer of the block chain, so that torrents and DHT stand still: look at its network, or give it a peer (addnode)")
	errStale = errors.New("no block for a day, so that torrents and DHT stand still: look whether twisterd still gets blocks")
	errCliff = errors.New("user_data of twisterd is near the size above which it is not read at the next start, and the messages and whom the user follows " +
		"are gone: stop twisterd cleanly, move its user_data away, and start it; weft follows again by itself")
	errBlind = errors.New("twisterd is behind the block chain and is fetching blocks: wait")
)

// chainWatch notices when the block chain of the daemon stands still or falls back. The daemon tells no time of a block, so it
// keeps on disk when the height was first seen.
type chainWatch struct {
	path  string
	state chainState
	info  rpc.Info
	grew  time.Time // when the last block came since this side has looked
}

type chainState struct {
	Height   int       `json:"height"` // the greatest seen
	Since    time.Time `json:"since"`
	Followed bool      `json:"followed"` // another daemon was seen with the user's torrent
}

// maxReorganised is how many blocks the chain may take back in passing.
const maxReorganised = 6

// staleAfter is the age of the newest block at which the daemon pauses its torrents.
const staleAfter = 24 * time.Hour

func statePath(c Config, name string) string { return filepath.Join(c.folder(), name) }

func (w *chainWatch) load() error { return loadState(w.path, &w.state) }

// see takes what the daemon says. What cannot be kept is only a trouble that shows later after a restart.
func (w *chainWatch) see(info rpc.Info, now time.Time) {
	if w.grew.IsZero() || info.Blocks != w.info.Blocks {
		w.grew = now
	}
	w.info = info
	if info.Blocks > w.state.Height {
		w.state.Height, w.state.Since = info.Blocks, now
		_ = saveState(w.path, w.state)
	}
}

func (w *chainWatch) seeFollower() {
	if !w.state.Followed {
		w.state.Followed = true
		_ = saveState(w.path, w.state)
	}
}

// unsettled returns why the daemon may not have all blocks yet: no call tells. While it fetches them many come a minute, and when it has them
// one in ten.
func (w *chainWatch) unsettled(now time.Time, quiet time.Duration) error {
	switch {
	case w.info.Connections == 0:
		return errAlone
	case now.Sub(w.grew) < quiet:
		return fmt.Errorf("%w (it has %d)", errFetches, w.info.Blocks)
	}
	return nil
}

func (w *chainWatch) trouble(now time.Time) error {
	switch {
	case w.info.Connections == 0:
		return errAlone
	case w.info.Blocks < w.state.Height-maxReorganised:
		return fmt.Errorf("%w (it has %d of at least %d)", errBlind, w.info.Blocks, w.state.Height)
	case now.Sub(w.state.Since) > staleAfter:
		return errStale
	}
	return nil
}

const (
	// maxUserData is the size in bytes above which twisterd does not read its user data at its next start.
	maxUserData  = 8_000_000
	warnUserData = 6_000_000

	// messageOverhead is what a message takes in it beside its text: names, numbers and their markup.
	messageOverhead = 75
)

// watchData estimates the size of the daemon's user data from the lists of messages, those of other users in the same wallet
// with whom they follow included, every so often.
func (d *daemon) watchData(ctx context.Context) {
	if time.Since(d.start.measured) < d.pace.data {
		return
	}
	d.start.measured = time.Now()
	size, err := d.userDataSize(ctx)
	if err != nil {
		d.log.Debug("size of the user data is unknown", slog.Any("err", err))
		if errors.Is(err, rpc.ErrAnswerTooLarge) {
			d.start.data = rpc.ErrAnswerTooLarge
		}
		return
	}
	d.start.data = nil
	if size >= d.cliff {
		d.start.data = fmt.Errorf("%w (it holds some %.1f MB of direct messages; %.0f MB are read)", errCliff, float64(size)/1e6, maxUserData/1e6)
	}
}

func (d *daemon) userDataSize(ctx context.Context) (int, error) {
	users, err := d.client.WalletUsers(ctx)
	if err != nil {
		return 0, err
	}
	size := 0
	for _, user := range users {
		names, err := d.client.Following(ctx, user)
		if err != nil {
			return 0, err
		}
		n, err := d.messagesSize(ctx, user, names)
		size += n
		if err != nil {
			return 0, err
		}
	}
	return size, nil
}

func (d *daemon) messagesSize(ctx context.Context, user string, with []string) (int, error) {
	size := 0
	for _, name := range with { // one at a time, so that no answer is larger than one list
		lists, err := d.client.DirectMessages(ctx, user, math.MaxInt32, rpc.Range{User: name})
		if err != nil {
			return 0, err
		}
		for _, m := range lists[name] {
			size += len(m.Text) + messageOverhead
		}
	}
	return size, nil
}
