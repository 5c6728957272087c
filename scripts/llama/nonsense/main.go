// Command nonsense writes a small language model that has learnt nothing: the
// shape of a llama with random weights, as a GGUF file. It speaks nonsense at
// the speed of a model of its size, which is all that a tuner needs. The same
// program writes the same bytes every time.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: nonsense FILE.gguf")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "nonsense:", err)
		os.Exit(1)
	}
}

// write makes the file whole or not at all.
func write(path string) error {
	whole := path + ".part"
	if err := os.WriteFile(whole, model(), 0o644); err != nil {
		return fmt.Errorf("writing the model: %w", err)
	}
	if err := os.Rename(whole, path); err != nil {
		return fmt.Errorf("writing the model: %w", err)
	}
	return nil
}
