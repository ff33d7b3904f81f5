//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/weft-relay/weft/pipeline"
)

// posts returns what each node has sent so far where its network counts that, by name.
func (s *site) posts(ctx context.Context) (map[string]int, error) {
	used := map[string]int{}
	for _, p := range s.processes {
		if p.admin == "" {
			continue
		}
		status, err := p.status(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range status.Transports {
			if t.Posts != nil {
				used[p.name] = t.Posts.Used
			}
		}
	}
	return used, nil
}

func (p *process) status(ctx context.Context) (s pipeline.Status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/api/v1/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, fmt.Errorf("status of %s: %w", p.name, err)
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

var postsHeader = []string{"QoS", "path", "messages a post", "posts per 1,000 messages", "receipts per 1,000 messages"}

// postsTable says what messages cost where posts are counted: alice sends the messages, bob the receipts.
func postsTable(b *strings.Builder, results []result) {
	rows := [][]string{postsHeader}
	for _, r := range results {
		sent := r.posts["alice"]
		if sent == 0 || r.arrived == 0 {
			continue
		}
		per := func(posts int) string { return fmt.Sprintf("%.1f", 1000*float64(posts)/float64(r.arrived)) }
		rows = append(rows, []string{
			strconv.Itoa(int(r.qos)), r.scenario.name, fmt.Sprintf("%.1f", float64(r.arrived)/float64(sent)), per(sent), per(r.posts["bob"]),
		})
	}
	if len(rows) > 1 {
		b.WriteByte('\n')
		align(b, rows)
	}
}
