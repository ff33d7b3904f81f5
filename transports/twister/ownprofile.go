package twister

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// keepShown reports whether the wish can be read by others; it puts it where that is missing. Only run calls it.
func (d *directory) keepShown(ctx context.Context) bool {
	d.mu.Lock()
	w := d.wish
	d.mu.Unlock()
	if w == nil {
		return true
	}
	for range profilePuts {
		found, err := d.readOwn(ctx)
		if err != nil {
			d.daemon.suspect()
			return false
		}
		if found && d.isShown(w) {
			d.resolve(w, nil)
			return true
		}
		if err := d.put(ctx, w, found); err != nil {
			if transports.IsPermanent(err) {
				d.resolve(w, err)
				return true
			}
			d.log.Debug("own profile is not put", slog.Any("err", err))
			return false
		}
	}
	return false
}

// resolve tells who waits for the wish what became of it, once.
func (d *directory) resolve(w *wish, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case w.isDone() && err != nil:
		d.logOwn("filters cannot be shown any more", slog.Any("err", err))
	case w.isDone():
	case err != nil:
		w.finish(err)
	default:
		d.log.Info("filters are shown in the profile", slog.String("filters", brief(w.filters)))
		if w.shown.IsZero() { // they were there before
			w.shown = time.Now()
		}
		w.finish(nil)
	}
}

// logOwn logs what may come again with every poll. It is called under the lock.
func (d *directory) logOwn(text string, args ...any) {
	if time.Since(d.logged[d.config.User]) >= wishesLogged {
		d.logged[d.config.User] = time.Now()
		d.log.Warn(text, args...)
	}
}

// readOwn takes in what other nodes have of the own profile, and reports whether they have what was put last, or newer.
func (d *directory) readOwn(ctx context.Context) (current bool, err error) {
	e, found, err := d.lookUp(ctx, d.config.User)
	if err != nil || !found {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept.Own != nil && e.Seq < d.kept.Own.Seq {
		return false, nil // a node that has not got the last one
	}
	p, err := newProfile(e.Seq, e.Value)
	if err != nil {
		return false, err
	}
	if old := d.kept.Own; old == nil || old.Blind || old.Seq != p.Seq || !bytes.Equal(old.Value, p.Value) {
		d.kept.Own = &p
		return true, d.save()
	}
	return true, nil
}

// lookUp returns the newest profile of a user that other nodes have, and false if they have none, or none answers.
func (d *directory) lookUp(ctx context.Context, user string) (rpc.Entry, bool, error) {
	select {
	case d.looks <- struct{}{}:
	case <-ctx.Done():
		return rpc.Entry{}, false, ctx.Err()
	}
	defer func() { <-d.looks }()
	entries, err := d.client.DHTGet(ctx, user, resourceProfile, rpc.Single, 0)
	if err != nil {
		return rpc.Entry{}, false, err
	}
	e, found := newest(entries, user)
	return e, found, nil
}

// isShown reports whether the profile has the filters of the wish and need not be renewed.
func (d *directory) isShown(w *wish) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !w.shown.IsZero() && time.Since(w.shown) > profileRenewal {
		return false
	}
	if d.kept.Own == nil {
		return len(w.filters) == 0
	}
	shown, dropped := wishesIn(d.kept.Own.fields(), d.config.ProfileField)
	return dropped == 0 && slices.Equal(shown, w.filters)
}

// put puts the profile with the filters among all else that it was seen to hold, whether another was found or none. It is kept on
// disk before.
func (d *directory) put(ctx context.Context, w *wish, found bool) error {
	d.mu.Lock()
	fields := d.kept.Own.with(d.config.ProfileField, w.filters)
	if err := fits(d.config.User, d.config.ProfileField, fields); err != nil {
		d.mu.Unlock()
		return err
	}
	if found && w.isDone() && time.Since(w.shown) < profileRenewal {
		d.logOwn("the filters in the profile were changed elsewhere; putting them back")
	}
	p, err := d.kept.Own.next(fields)
	if err == nil {
		d.kept.Own, w.shown = &p, time.Now()
		err = d.save()
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	err = d.client.DHTPut(ctx, d.config.User, resourceProfile, rpc.Single, fields, d.config.User, int64(p.Seq))
	if errors.Is(err, rpc.ErrBadValue) || errors.Is(err, rpc.ErrOutOfRange) || errors.Is(err, rpc.ErrInvalidText) {
		err = transports.Permanent(fmt.Errorf("profile of %s holds what cannot be put again: %w", d.config.User, err))
	}
	return err
}

// save is called under the lock.
func (d *directory) save() error {
	if err := saveState(d.path, d.kept); err != nil {
		return fmt.Errorf("keep profiles: %w", err)
	}
	return nil
}

// brief shortens what goes into a line of the log.
func brief(filters []string) string {
	text := strings.Join(filters, ", ")
	if len(text) > 200 {
		return fmt.Sprintf("%s... (%d filters)", strings.ToValidUTF8(text[:200], ""), len(filters))
	}
	return text
}
