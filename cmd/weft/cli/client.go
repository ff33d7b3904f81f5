package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/plugins"
)

var errTooLong = errors.New("the broker took too long")

// clientFlags are what `weft pub` and `weft sub` have in common. Their letters are those of mosquitto_pub and mosquitto_sub.
type clientFlags struct {
	url    string
	access plugins.Access
	qos    uint8
	wait   time.Duration
}

func (f *clientFlags) add(cmd *cobra.Command, qos uint8, wait string) {
	cmd.Flags().StringVar(&f.url, "url", "", "broker, as mqtt://[USER:PASSWORD@]HOST[:PORT]; mqtts, ws and wss too (default the one that -c names)")
	cmd.Flags().StringVarP(&f.access.User, "user", "u", "", "`name` of the user of the built-in broker to be (default the first who may)")
	usage := "`QoS`: 0, 1 or 2"
	if qos == 0 {
		usage += " (default 0)" // pflag says nothing of a default that is zero
	}
	cmd.Flags().Uint8VarP(&f.qos, "qos", "q", qos, usage)
	cmd.Flags().DurationVarP(&f.wait, "wait", "W", 0, wait)
}

// run gives do a client that is connecting, and a context that ends after the time to wait.
func (f *clientFlags) run(cmd *cobra.Command, g *globals, do func(context.Context, *plugins.Client) error) error {
	if f.qos > 2 {
		return usageError{fmt.Errorf("-q %d: no QoS; write 0, 1 or 2", f.qos)}
	}
	if f.url != "" && f.access.User != "" {
		return usageError{errors.New("--user and --url; a user goes into the URL: mqtt://USER:PASSWORD@HOST")}
	}
	client, err := f.client(cmd, g)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if f.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.wait, errTooLong)
		defer cancel()
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	err = do(ctx, client)
	return errors.Join(err, client.Close())
}

func (f *clientFlags) client(cmd *cobra.Command, g *globals) (*plugins.Client, error) {
	log, err := g.logger(cmd.ErrOrStderr(), slog.LevelWarn)
	if err != nil {
		return nil, err
	}
	if cmd.Flags().Changed("url") {
		client, err := plugins.NewClient(f.url, log)
		if err != nil {
			return nil, usageError{fmt.Errorf("--url: %s", strings.TrimPrefix(err.Error(), "url: "))}
		}
		return client, nil
	}
	file, err := g.set.LoadPart(g.config, "broker")
	if err != nil {
		return nil, err
	}
	return plugins.NewNodeClient(file, f.access, log)
}
