//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// settled is how long a node that has met its peers is left alone before its memory is read.
const settled = 30 * time.Second

// rest says what a node costs that has nothing to do: one in a mesh with so many peers, each of them with the built-in broker.
func rest(ctx context.Context, dir string, bin map[string]string, peers int, stdout io.Writer) (err error) {
	s := &site{dir: dir, bin: bin}
	defer s.close()
	port, err := freePort()
	if err != nil {
		return err
	}
	hub, err := s.identity(ctx, "hub")
	if err != nil {
		return err
	}
	id, err := s.meshID(ctx, "hub")
	if err != nil {
		return err
	}
	var names, lines []string
	for i := range peers {
		name := fmt.Sprintf("peer%d", i)
		line, err := s.identity(ctx, name)
		if err != nil {
			return err
		}
		names, lines = append(names, name), append(lines, line)
	}
	began := time.Now()
	if err := s.restful(ctx, "hub", strings.Join(lines, ", "), fmt.Sprintf("listen: [%s]", meshAddress(port))); err != nil {
		return err
	}
	started := time.Since(began)
	for _, name := range names {
		entry := fmt.Sprintf("listen: [%s], bootstrap: [%s/p2p/%s]", meshAddress(0), meshAddress(port), id)
		if err := s.restful(ctx, name, hub, entry); err != nil {
			return err
		}
	}
	if err := s.processes[0].awaitPeers(ctx, peers); err != nil {
		return errors.Join(err, s.alive())
	}
	select {
	case <-time.After(settled):
	case <-ctx.Done():
		return ctx.Err()
	}
	var now [2]int64
	for i, field := range []string{nowRSS, peakRSS} {
		if now[i], err = memory(s.processes[0].pid, field); err != nil {
			return err
		}
	}
	program, err := os.Stat(bin["weft"])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "A node answers %v after its start. With %d mesh peers, %v after meeting the last, it has %d MiB resident, at most %d so far. The program has %.1f MB.\n",
		started.Round(time.Millisecond), peers, settled, now[0]>>20, now[1]>>20, float64(program.Size())/1e6)
	return err
}

// restful starts a node with the built-in broker, that wants all its peers have.
func (s *site) restful(ctx context.Context, name, peers, mesh string) error {
	broker, err := s.address()
	if err != nil {
		return err
	}
	return s.node(ctx, name, fmt.Sprintf("broker: {embedded: {listen: %q}}\npeers: [%s]\nsubscribe: [%q]\ntransports: {mesh: {type: kademlia, mdns: false, %s}}\n"+
		"routes: [{name: fridges, match: [%q], to: mesh}]\n", broker, peers, filter, mesh, filter))
}

// awaitPeers waits until a node in a mesh has so many connected.
func (p *process) awaitPeers(ctx context.Context, peers int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("%s has not met its peers within a minute", p.name))
	defer cancel()
	for {
		status, err := p.status(ctx)
		if err != nil {
			return err
		}
		met := 0
		for _, p := range status.Peers {
			if p.Known && p.ListsUs {
				met++
			}
		}
		if met == peers {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
