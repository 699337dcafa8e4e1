// Package iptables stands where sigs.k8s.io/iptables-wrappers belongs, which the module proxy does not serve: it finds
// no iptables on the node. A kubelet then leaves out the rules that it would set up for other components.
package iptables

import (
	"context"
	"time"
)

type (
	Chain        string
	Table        string
	Protocol     string
	RulePosition string
	Mode         string
)

const (
	TableFilter Table = "filter"
	TableMangle Table = "mangle"
	TableNAT    Table = "nat"

	ChainInput  Chain = "INPUT"
	ChainOutput Chain = "OUTPUT"

	Append  RulePosition = "-A"
	Prepend RulePosition = "-I"

	UseInstalledMode Mode = ""
)

// Interface has what a kubelet calls; there are no implementations.
type Interface interface {
	EnsureChain(ctx context.Context, table Table, chain Chain) (bool, error)
	EnsureRule(ctx context.Context, position RulePosition, table Table, chain Chain, args ...string) (bool, error)
	IsIPv6() bool
	Protocol() Protocol
	Monitor(ctx context.Context, canary Chain, tables []Table, reload func(), interval time.Duration)
}

// NewBestEffort returns the clients that work here: none.
func NewBestEffort(context.Context, Mode) map[Protocol]Interface {
	return nil
}
