package rpc

import (
	"errors"
	"fmt"
	"strings"
)

// What can be wrong between this client and the daemon.
var (
	// ErrUnreachable is returned when no connection was made: the daemon has not seen the call.
	ErrUnreachable = errors.New("no twisterd answers there: start it, or look at host and port of the url")

	// ErrUnknownOutcome is returned when the request may have reached the daemon and no usable answer came back. A k that the
	// call carried counts as used: send again with a new one, never with the same.
	ErrUnknownOutcome = errors.New("twisterd may or may not have carried the call out")

	// ErrUnauthorized is returned for HTTP status 401.
	ErrUnauthorized = errors.New("twisterd refuses this user and password: take rpcuser and rpcpassword from its twister.conf")

	// ErrHostNotAllowed is returned for HTTP status 403.
	ErrHostNotAllowed = errors.New("twisterd allows no calls from this host: run weft beside it, or start it with -rpcallowip")

	// ErrNotTwisterd is returned when the answer is not one that twisterd gives.
	ErrNotTwisterd = errors.New("what answers there is no twisterd: look at host and port of the url")

	// ErrAnswerTooLarge is returned when an answer exceeds Config.MaxAnswer.
	ErrAnswerTooLarge = errors.New("answer of twisterd is too large to be read: stop it cleanly, move its user_data away, and start it")
)

// What is refused before anything is sent.
var (
	// ErrInvalidText is returned for text that is empty where the receiver drops it, or is not UTF-8.
	ErrInvalidText = errors.New("text is empty or not valid UTF-8: pack binary data into text")

	// ErrOutOfRange is returned for an integer beyond 32 bits, which the daemon would cut.
	ErrOutOfRange = errors.New("number does not fit into 32 bits")

	// ErrBadValue is returned for what a parameter or a DHT value cannot hold: only strings, 32-bit integers, lists and objects pass.
	ErrBadValue = errors.New("twisterd cannot hold this value: use strings, 32-bit integers, lists and objects")

	// ErrBadName is returned for a name that nobody can register.
	ErrBadName = errors.New("not a Twister user name: want 1 to 16 of a-z, 0-9 and _")
)

// What the daemon answers. Each comes in an *Error with the daemon's own words.
var (
	// ErrNoSuchUser is returned for a user or recipient who is not in the block chain (yet).
	ErrNoSuchUser = errors.New("no such user, or not confirmed by a block yet: look at the name, or register it and wait")

	// ErrNotConfirmed is returned when the sender's registration is not in a block yet, or is in the newest one.
	ErrNotConfirmed = errors.New("user is not confirmed yet: wait until a block follows the one that registers it")

	// ErrNotInWallet is returned when the daemon does not hold the sender's key.
	ErrNotInWallet = errors.New("key of this user is not in the daemon's wallet: use the daemon that made it, or import it there")

	// ErrWalletLocked is returned while the wallet is encrypted and locked.
	ErrWalletLocked = errors.New("wallet is locked: unlock it with walletpassphrase")

	// ErrBudgetSpent is returned for a k above 2 * (best height - registration height) + 20.
	ErrBudgetSpent = errors.New("posts of this user are spent: wait for blocks, each allows two more")

	// ErrTooLong is returned for a post or message over 2048 bytes as the daemon encodes it.
	ErrTooLong = errors.New("text is too long for a post: split it")

	// ErrUserExists is returned when the wallet already holds a key of that name.
	ErrUserExists = errors.New("wallet already holds a key of this name")

	// ErrNameTaken is returned when the block chain already has that name.
	ErrNameTaken = errors.New("name is already registered: choose another, or import its key")

	// ErrRejected is returned for a registration that the daemon cannot use or already waits for.
	ErrRejected = errors.New("registration is refused: it waits for a block already, or the name is not allowed")

	// ErrWarmingUp is returned by the few calls that say so while the daemon starts; most succeed then and do nothing.
	ErrWarmingUp = errors.New("twisterd is still starting: wait up to a minute")

	// ErrPublicServer is returned by a daemon that runs with -public_server_mode.
	ErrPublicServer = errors.New("twisterd runs as a public server: start it without -public_server_mode")

	// ErrRefused is returned for every other error of the daemon.
	ErrRefused = errors.New("twisterd refuses the call")
)

// An Error is what the daemon answered.
type Error struct {
	Method  string
	Status  int // of HTTP
	Code    int
	Message string
	kind    error
}

// Error says what to do, and the daemon's words. Those for a wrong number of parameters go on with a help text, which is left out.
func (e *Error) Error() string {
	message, _, _ := strings.Cut(e.Message, "\n")
	return fmt.Sprintf("%s: %v (twisterd: %q, code %d)", e.Method, e.kind, message, e.Code)
}

// Unwrap returns the Err value that the answer means.
func (e *Error) Unwrap() error { return e.kind }

// kinds says what an answer means by its code and a part of its message.
var kinds = []struct {
	code int
	part string
	kind error
}{
	{-11, "this username exists in wallet", ErrUserExists},
	{-11, "exists in tx database", ErrNameTaken},
	{-11, "username must exist in wallet", ErrNotInWallet},
	{-11, "no sig_user in wallet", ErrNotInWallet},
	{-13, "", ErrWalletLocked},
	{-22, "", ErrRejected},
	{-23, "", ErrPublicServer},
	{-28, "", ErrWarmingUp},
	{-32601, "", ErrNotTwisterd},
	{-32602, "too much posts", ErrBudgetSpent},
	{-32602, "bad bencoded post size", ErrTooLong},
	{-32602, "bad post signature", ErrNotConfirmed},
	{-32603, "error signing post", ErrNotInWallet},
	{-32603, "error encrypting to pubkey", ErrNoSuchUser},
	{-32603, "unknown user", ErrNoSuchUser},
	{-32603, "UsernameToTxNum failed", ErrNoSuchUser},
	{-32603, "uninitialized session", ErrWarmingUp},
}

func classify(code int, message string) error {
	for _, k := range kinds {
		if k.code == code && strings.Contains(message, k.part) {
			return k.kind
		}
	}
	return ErrRefused
}
