package nats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
)

// ErrFull is returned by Publish when the stream has no room for the frame, or already holds as many for that peer as it may.
// The sender keeps the frame and tries again.
var ErrFull = errors.New("stream is full")

// ErrClosed is returned by what is called before Start or after Close.
var ErrClosed = errors.New("transport is not running")

// codeStoreFailed is JetStream's answer to a message that it could not store; the description says why.
const codeStoreFailed jetstream.ErrorCode = 10077

// plain says an error in words that a user understands, with what would help.
func plain(err error) string {
	var network *net.OpError
	switch {
	case errors.As(err, &network):
		return plainNetwork(network)
	case errors.Is(err, io.EOF):
		return "the server closed the connection"
	case errors.Is(err, natsgo.ErrSecureConnWanted):
		return "it speaks no TLS: write nats:// and leave tls out, or have TLS set up there"
	case errors.Is(err, natsgo.ErrNoInfoReceived):
		return "what answers there does not speak NATS: check host and port of the url"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return "JetStream is not enabled on this server: start it with -js, or add a jetstream block to its configuration"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return "JetStream is not enabled for this account: ask the operator of the server to enable it"
	case errors.Is(err, natsgo.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return "JetStream is not enabled on this server, or has no leader at the moment: start the server with -js, " +
			"or look at its cluster"
	case errors.Is(err, natsgo.ErrAuthorization), errors.Is(err, natsgo.ErrAuthExpired), errors.Is(err, natsgo.ErrAuthRevoked),
		errors.Is(err, natsgo.ErrAccountAuthExpired):
		return "the server refuses this login (" + err.Error() + "): check user, password, token, nkey or creds"
	case errors.Is(err, natsgo.ErrPermissionViolation):
		return err.Error() + ": ask the operator of the server for this permission"
	case errors.Is(err, natsgo.ErrSecureConnRequired):
		return "the server asks for TLS: use a tls:// URL or the tls keys"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, natsgo.ErrTimeout):
		return "the server is connected but does not answer in time (" + err.Error() + ")"
	}
	return err.Error()
}

// plainNetwork leaves out this side's address, which is another one at each attempt.
func plainNetwork(err *net.OpError) string {
	switch {
	case err.Addr == nil:
		return err.Error()
	case err.Op == "dial":
		return fmt.Sprintf("no NATS server at %s: %v", err.Addr, err.Err)
	case err.Op == "read" && err.Timeout(): // a client waits for the server's greeting alone with a deadline
		return fmt.Sprintf("%s sends no greeting: it does not speak NATS, or hangs; check host and port of the url", err.Addr)
	}
	return fmt.Sprintf("connection to %s: %v", err.Addr, err.Err)
}

// publishError says what an error of a publish means for the frame.
func publishError(dest string, err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, natsgo.ErrMaxPayload), errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		err = transports.Permanent(err)
	case errors.As(err, &api) && api.ErrorCode == codeStoreFailed && strings.HasPrefix(api.Description, "maximum "):
		err = fmt.Errorf("%w: %s", ErrFull, plainFull(dest, api.Description))
	}
	return fmt.Errorf("publish to %s: %w", dest, err)
}

// plainFull says which limit a refused frame has met, from JetStream's description of it.
func plainFull(dest, description string) string {
	switch description {
	case "maximum messages per subject exceeded":
		return dest + " is away or slow: limits.frames of its frames wait in NATS"
	case "maximum bytes exceeded":
		return "limits.bytes of frames wait in NATS, for all peers together: one of them is away or slow"
	}
	return description
}

// errOtherBucket says that the bucket is not the one that the session found or made.
var errOtherBucket = errors.New("bucket of profiles was deleted and made anew")

// noStream reports whether something failed because a stream that the session found or made is gone.
func noStream(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, natsgo.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, errOtherBucket)
}
