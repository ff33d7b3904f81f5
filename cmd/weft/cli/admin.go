package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/admin"
)

// adminFlags are what the commands have in common that ask a running node.
type adminFlags struct{ address string }

func (f *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "address", "", "admin `address` of the node, instead of the file's")
}

// find returns the node's admin address. Of the file it needs no more.
func (f *adminFlags) find(g *globals) (string, error) {
	address := f.address
	if address == "" {
		file, err := g.set.LoadPart(g.config, "admin")
		if err != nil {
			return "", err
		}
		if address = file.Admin.Listen; address == "" {
			return "", fmt.Errorf("%s: no admin address; add admin: {listen: 127.0.0.1:9883} and start the node again", g.config)
		}
	}
	if err := configs.CheckAddress(address); err != nil {
		return "", usageError{fmt.Errorf("--address: %w", err)}
	}
	return address, nil
}

// status asks the node how it is, and returns that and its JSON.
func (f *adminFlags) status(ctx context.Context, g *globals) (*pipeline.Status, []byte, error) {
	address, err := f.find(g)
	if err != nil {
		return nil, nil, err
	}
	body, err := fetch(ctx, address, "/api/v1/status")
	if err != nil {
		return nil, nil, err
	}
	var s pipeline.Status
	if err := json.Unmarshal(body, &s); err != nil || s.Node == "" {
		return nil, nil, notWeft(address)
	}
	return &s, body, nil
}

// fetchTime bounds how long a node may take to answer.
const fetchTime = 10 * time.Second

// fetch returns a page of the node's admin service, or why the node says that there is none.
func fetch(ctx context.Context, address, page string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+page, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, plainFetch(ctx, address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil || resp.StatusCode == http.StatusOK {
		return body, err
	}
	var failure admin.Failure
	if json.Unmarshal(body, &failure) != nil || failure.Error == "" {
		return nil, fmt.Errorf("%w (%s)", notWeft(address), resp.Status)
	}
	return nil, errors.New(failure.Error)
}

// plainFetch says in plain words why a node's admin address gave no answer.
func plainFetch(ctx context.Context, address string, err error) error {
	var network *net.OpError
	var name *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody answers at %s: the node is not running, or has another admin address", address)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s in %v: the node hangs or is stopped, or something between drops what is sent", address, fetchTime)
	case errors.As(err, &name), errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("%s is out of reach: %w", address, errors.Unwrap(err)) // without the words of net/url
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return notWeft(address)
}

func notWeft(address string) error {
	return fmt.Errorf("what answers at %s is not weft's admin service; give the address of admin.listen", address)
}
