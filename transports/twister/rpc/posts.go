package rpc

import (
	"context"
	"fmt"
)

// Flags chooses the kinds of posts that Posts returns.
type Flags int

// The kinds of posts, as the daemon numbers them.
const (
	PlainPosts  Flags = 1   // public posts and retwists
	DirectPosts Flags = 2   // direct messages, encrypted
	AllPosts    Flags = 255 // both, and favourites
)

// A Post is one piece of a user's torrent.
type Post struct {
	Sig  string // hexadecimal; empty for a promoted post
	Name string
	K    int
	Time int64 // of the sender's clock, seconds since 1970
	// Height is the sender's best block less one.
	Height int
	// Text is msg and msg2 together: the daemon splits a post of over 140 characters.
	Text   string
	LastK  *int // of the public post before, nil for the first
	Direct bool // an encrypted direct message; Text is empty
	// Foreign says that the post carries another user's: a retwist or a favourite.
	Foreign bool
}

// Promoted reports whether the daemon added the post on its own: nobody signed it and nobody follows its author.
func (p Post) Promoted() bool { return p.Sig == "" }

// A Message is one entry of a list of direct messages.
type Message struct {
	// ID is the position in the list now. It is no identity: a message of the same second shifts it.
	ID     int    `json:"id"`
	Time   int64  `json:"time"` // of the sender's clock, seconds since 1970
	Text   string `json:"text"`
	FromMe bool   `json:"fromMe"`
	From   string `json:"from"`
	K      int    `json:"k"`
}

// A Range asks for a part of what a user posted. Since is exclusive, Max inclusive; nil means no bound. They are list positions
// for direct messages and k for posts.
type Range struct {
	User       string
	Since, Max *int
}

func (r Range) param() map[string]any {
	param := map[string]any{"username": r.User}
	if r.Since != nil {
		param["since_id"] = *r.Since
	}
	if r.Max != nil {
		param["max_id"] = *r.Max
	}
	return param
}

func rangeParams(ranges []Range) []any {
	params := make([]any, 0, len(ranges))
	for _, r := range ranges {
		params = append(params, r.param())
	}
	return params
}

// wirePost is a post in the daemon's words.
type wirePost struct {
	Sig  string `json:"sig_userpost"`
	Post *struct {
		Name   string `json:"n"`
		K      int    `json:"k"`
		Time   int64  `json:"time"`
		Height int    `json:"height"`
		Msg    string `json:"msg"`
		Msg2   string `json:"msg2"`
		LastK  *int   `json:"lastk"`
		DM     any    `json:"dm"`
		RT     any    `json:"rt"`
		Fav    any    `json:"fav"`
	} `json:"userpost"`
}

func (w wirePost) post() (Post, error) {
	p := w.Post
	if p == nil {
		return Post{}, fmt.Errorf("%w: a post without userpost", ErrNotTwisterd)
	}
	return Post{
		Sig: w.Sig, Name: p.Name, K: p.K, Time: p.Time, Height: p.Height, Text: p.Msg + p.Msg2, LastK: p.LastK,
		Direct: p.DM != nil, Foreign: p.RT != nil || p.Fav != nil,
	}, nil
}

// DirectMessage sends text from one user to another. k must be one that no call ever carried: a used one loses the message without a
// word. A nil error says only that the daemon took it.
func (c *Client) DirectMessage(ctx context.Context, from string, k int, to, text string) (Post, error) {
	if text == "" {
		return Post{}, fmt.Errorf("direct message: %w", ErrInvalidText)
	}
	return c.send(ctx, from, "newdirectmsg", from, k, to, text)
}

// PublicPost publishes text, signed by user, to all who follow. For k see DirectMessage.
func (c *Client) PublicPost(ctx context.Context, user string, k int, text string) (Post, error) {
	return c.send(ctx, user, "newpostmsg", user, k, text)
}

func (c *Client) send(ctx context.Context, user, method string, params ...any) (Post, error) {
	var sent wirePost
	if err := c.call(ctx, &sent, method, params...); err != nil {
		return Post{}, c.clarify(ctx, user, err)
	}
	post, err := sent.post()
	if err != nil {
		return Post{}, fmt.Errorf("%s: %w: %w", method, ErrUnknownOutcome, err)
	}
	return post, nil
}

// DirectMessages returns the newest count messages that user exchanged with each of the ranges' users, in the order of the daemon's
// list: by the sender's second, newest arrival first inside a second.
func (c *Client) DirectMessages(ctx context.Context, user string, count int, ranges ...Range) (map[string][]Message, error) {
	var lists map[string][]Message
	err := c.call(ctx, &lists, "getdirectmsgs", user, count, rangeParams(ranges))
	return lists, err
}

// RescanDirectMessages has all pieces that are here listed again for user, those that came while the wallet was locked among them.
// Of messages that share their second some are then listed more than once.
func (c *Client) RescanDirectMessages(ctx context.Context, user string) error {
	return c.call(ctx, nil, "rescandirectmsgs", user)
}

// Posts returns the newest count posts of all ranges together, of the kinds in allowed and with all of required: the newest second
// first, and inside a second by k. The daemon may put a promoted post before them.
func (c *Client) Posts(ctx context.Context, count int, allowed, required Flags, ranges ...Range) ([]Post, error) {
	var wire []wirePost
	if err := c.call(ctx, &wire, "getposts", count, rangeParams(ranges), int(allowed), int(required)); err != nil {
		return nil, err
	}
	posts := make([]Post, 0, len(wire))
	for _, w := range wire {
		post, err := w.post()
		if err != nil {
			return nil, fmt.Errorf("getposts: %w", err)
		}
		posts = append(posts, post)
	}
	return posts, nil
}
