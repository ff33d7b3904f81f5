package twistertest

import (
	"fmt"
	"slices"
	"time"
)

// What a test or a demonstration would otherwise have to call over RPC to set a scene.

// Register makes a key for a user in the daemon's wallet and sends the transaction. The user can send from the second block on:
// one that confirms it, and one that follows, since posts are signed as of the block before the newest.
func (d *Daemon) Register(name string) error {
	for _, call := range []string{"createwalletuser", "sendnewusertransaction"} {
		if _, err := d.do(call, name); err != nil {
			return fmt.Errorf("register %q: %w", name, err)
		}
	}
	return nil
}

// Follow makes a user of this daemon follow others. It is an error where the daemon would leave one out without a word.
func (d *Daemon) Follow(user string, names ...string) error {
	if _, err := d.do("follow", user, stringList(names)); err != nil {
		return err
	}
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	for _, name := range names {
		if !slices.Contains(d.followed(user), name) {
			return fmt.Errorf("follow %q: it is not confirmed, or the daemon is still starting", name)
		}
	}
	return nil
}

// EncryptWallet sets a passphrase and locks the wallet.
func (d *Daemon) EncryptWallet(passphrase string) {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.wallet.passphrase, d.wallet.locked, d.wallet.until = passphrase, true, 0
}

// ImportKey gives this daemon the key of a user of another one, which is where trouble with k begins.
func (d *Daemon) ImportKey(from *Daemon, user string) error {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	key, ok := from.wallet.users[user]
	if !ok {
		return fmt.Errorf("import the key of %q: daemon %q has none", user, from.name)
	}
	if _, ok := d.wallet.users[user]; !ok {
		d.wallet.order = append(d.wallet.order, user)
	}
	d.wallet.users[user] = key
	return nil
}

// do carries out a call without HTTP.
func (d *Daemon) do(method string, list ...any) (any, error) {
	return d.call(method, params{list: list, wait: new(time.Duration), hang: new(bool)})
}
