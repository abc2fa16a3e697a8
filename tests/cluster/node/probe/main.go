// What the tests run in pods: say TEXT | serve ADDRESS TEXT | get URL.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func get(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func serve(address, text string) error {
	say := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, text) }
	return http.ListenAndServe(address, http.HandlerFunc(say))
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "say":
		_, err := fmt.Println(args[1])
		return err
	case len(args) == 2 && args[0] == "get":
		return get(args[1])
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], args[2])
	}
	return fmt.Errorf("usage: probe say TEXT | serve ADDRESS TEXT | get URL")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
