// Command ratios reads the output of benchmarks whose names end with /server=NAME, and prints a table for each benchmark in Markdown:
// the median of each server, and the ratios of one server to each other one, each with the least and the greatest. A ratio is within one
// round: the first line of one server against the first line of the other one, and so on. Their median is not the ratio of the medians.
//
//	go run ./.ci/ratios ours bare,before,ours,express <bench.txt
//
// The first argument is the server whose ratios are wanted, the second one is all servers in the order of the columns. benchstat knows
// neither ratios within a round nor their range.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// units are the metrics that are shown, in this order. ns/op is not: it says the same as calls/s, or the pace of the benchmark.
var units = []string{"calls/s", "p50-µs", "p99-µs", "server-µs/op", "redis-µs/op", "B/stream"}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ratios SERVER SERVER,SERVER… <bench.txt")
		os.Exit(2)
	}
	if err := run(os.Args[1], strings.Split(os.Args[2], ","), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// results are values by benchmark, unit and server, one for each round.
type results map[string]map[string]map[string][]float64

// line is a benchmark's result: its name, the server, and the rest.
var line = regexp.MustCompile(`^Benchmark(\w+)/server=([\w-]+?)(?:-\d+)?\s+\d+\s+(.*)$`)

func read(from io.Reader) (found results, names []string, err error) {
	found = results{}
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		parts := line.FindStringSubmatch(lines.Text())
		if parts == nil {
			continue
		}
		benchmark, server := parts[1], parts[2]
		if found[benchmark] == nil {
			found[benchmark] = map[string]map[string][]float64{}
			names = append(names, benchmark)
		}
		fields := strings.Fields(parts[3])
		for i := 0; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", lines.Text(), err)
			}
			unit := fields[i+1]
			if found[benchmark][unit] == nil {
				found[benchmark][unit] = map[string][]float64{}
			}
			found[benchmark][unit][server] = append(found[benchmark][unit][server], value)
		}
	}
	return found, names, lines.Err()
}

func run(of string, servers []string, from io.Reader, to io.Writer) error {
	found, names, err := read(from)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no line has a benchmark of a server")
	}
	for _, benchmark := range names {
		if err := table(to, benchmark, found[benchmark], of, servers); err != nil {
			return err
		}
	}
	return nil
}

// table prints the results of a benchmark.
func table(to io.Writer, benchmark string, values map[string]map[string][]float64, of string, servers []string) error {
	measured := slices.DeleteFunc(slices.Clone(servers), func(server string) bool { return len(values["ns/op"][server]) == 0 })
	others := slices.DeleteFunc(slices.Clone(measured), func(server string) bool { return server == of })
	if len(others) == len(measured) {
		return fmt.Errorf("%s has no line of %s", benchmark, of)
	}
	head := append([]string{benchmark}, measured...)
	for _, other := range others {
		head = append(head, of+" / "+other)
	}
	rows := [][]string{head, slices.Repeat([]string{"---"}, len(head))}
	for _, unit := range units {
		if values[unit] == nil {
			continue
		}
		row := []string{unit}
		for _, server := range measured {
			row = append(row, spread(values[unit][server], number))
		}
		for _, other := range others {
			within, err := ratios(values[unit][of], values[unit][other])
			if err != nil {
				return fmt.Errorf("%s: %s: %s and %s: %w", benchmark, unit, of, other, err)
			}
			row = append(row, spread(within, func(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }))
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		fmt.Fprintf(to, "| %s |\n", strings.Join(row, " | "))
	}
	_, err := fmt.Fprintln(to)
	return err
}

// ratios returns the ratio of each round. It returns none if only one of the two has this metric.
func ratios(of, to []float64) (within []float64, err error) {
	if len(of) == 0 || len(to) == 0 {
		return nil, nil
	}
	if len(of) != len(to) {
		return nil, fmt.Errorf("%d and %d rounds", len(of), len(to))
	}
	for round := range of {
		if to[round] != 0 {
			within = append(within, of[round]/to[round])
		}
	}
	return within, nil
}

// spread returns the median of some values, and if they differ the least and the greatest.
func spread(values []float64, text func(float64) string) string {
	if len(values) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	median, least, most := text((sorted[(n-1)/2]+sorted[n/2])/2), text(sorted[0]), text(sorted[n-1])
	if least == most {
		return median
	}
	return fmt.Sprintf("%s (%s to %s)", median, least, most)
}

// number returns a value with three digits, or without a fraction if it is greater.
func number(value float64) string {
	if value < 100 {
		return fmt.Sprintf("%.3g", value)
	}
	text := fmt.Sprintf("%.0f", value)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
