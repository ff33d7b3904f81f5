package rpc

import (
	"context"
	"fmt"
)

// Group is what a daemon knows of a group.
type Group struct {
	Alias       string   `json:"alias"` // of this daemon alone; another has another for the same group
	Description string   `json:"description"`
	Members     []string `json:"members"`
}

// CreateGroup makes a group and returns its alias. Its maker is no member until invited.
func (c *Client) CreateGroup(ctx context.Context, description string) (string, error) {
	var alias string
	if err := c.call(ctx, &alias, "creategroup", description); err != nil {
		return "", err
	}
	if alias == "" {
		return "", fmt.Errorf("creategroup: %w: no alias", ErrRefused)
	}
	return alias, nil
}

// GroupInvite invites names into a group. It uses k and those after it: one a name, and one for about every 150 bytes of the list of
// members; see LastHave afterwards.
func (c *Client) GroupInvite(ctx context.Context, from string, k int, alias string, names ...string) error {
	err := c.call(ctx, nil, "newgroupinvite", from, k, alias, names)
	return c.clarify(ctx, from, err)
}

// GroupInfo returns what this daemon knows of a group.
func (c *Client) GroupInfo(ctx context.Context, alias string) (Group, error) {
	var group Group
	err := c.call(ctx, &group, "getgroupinfo", alias)
	return group, err
}

// Groups returns the aliases of the groups that user is a member of.
func (c *Client) Groups(ctx context.Context, user string) ([]string, error) {
	var aliases []string
	err := c.call(ctx, &aliases, "listgroups", user)
	return aliases, err
}
