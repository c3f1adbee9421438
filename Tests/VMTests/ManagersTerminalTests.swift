import Testing

extension ManagersTests {
    /// A program that answers input; its answers differ from the terminal's echo.
    private static let listener = #"""
        trap "echo hup" HUP; echo listens; while read -r word rest; do case $word in
            size) until [ "$(stty size)" = "$rest" ]; do sleep 0.1; done; echo "has $rest" ;; end) exit 5 ;; *) echo "heard $word" ;;
        esac; done
        """#

    @Test("Docker: attach, its detach keys, the terminal's size, exec -it and logs -f are as under any runtime")
    func dockerTerminals() throws {
        let outcome = try withDocker(
            #"""
            cat > listener <<'X'
            \#(Self.listener)
            X
            docker="docker -H unix://$PWD/docker.sock"
            d run -itd --name term --runtime kata -v $PWD/listener:/listener busybox sh /listener > /dev/null
            talk '=>one\n' 'heard one=>size 20 50\n' 'has 20 50=>RESIZE 33 77' '=>size 33 77\n' 'has 33 77=>\x18q' \
                -- $docker attach --detach-keys ctrl-x,q term; echo "detached $?"
            talk '=>two\n' 'heard two=>\x10\x11' -- $docker attach term; echo "detached $?"
            talk '=>size 20 50\n' 'has 20 50=>RESIZE 40 90' '=>size 40 90\n' 'has 40 90=>end\n' -- $docker exec -it term sh /listener; echo "exec $?"
            talk '=>three\n' 'heard three=>\x10\x11' -- $docker exec -it term sh /listener; echo "left $?"
            d exec term sh -c 'ps | grep -c "[s]h /listener"'
            talk '=>end\n' -- $docker attach term; echo "attach $?"
            d run -d --name writes --runtime kata busybox sh -c 'for i in 1 2 3; do echo $i; sleep 0.3; done; exit 3' > /dev/null; timeout 120 $docker logs -f writes
            d run -di --name reads --runtime kata -v $PWD/listener:/listener busybox sh /listener > /dev/null
            (echo four; sleep 0.5) | timeout 120 $docker attach reads > out & for i in $(seq 400); do d logs reads | grep -q four && break; sleep 0.1; done
            kill -HUP $(pgrep -f "docker -H .*/docker.sock attach reads$"); wait $!; d logs reads; note d; d rm -f term writes reads > /dev/null; left
            """#)
        #expect(
            outcome.output == """
                detached 1
                detached 1
                exec 5
                left 1
                2
                attach 5
                1
                2
                3
                listens
                heard four
                hup

                """, "\(outcome.error)")
    }

    @Test("Podman: attach, its detach keys, the terminal's size, exec -it and logs -f are as under any runtime")
    func podmanTerminals() throws {
        let outcome = try withPodman(
            #"""
            cat > listener <<'X'
            \#(Self.listener)
            X
            podman="nsenter --net=/run/netns/$ns podman --root $PWD/graph --runroot $PWD/runroot --tmpdir $PWD/tmp --runtime $PWD/kata"
            p run -itd --name term -v $PWD/listener:/listener busybox sh /listener > /dev/null
            talk '=>one\n' 'heard one=>size 20 50\n' 'has 20 50=>RESIZE 33 77' '=>size 33 77\n' 'has 33 77=>\x18q' \
                -- $podman attach --detach-keys ctrl-x,q term; echo "detached $?"
            talk '=>size 20 50\n' 'has 20 50=>RESIZE 40 90' '=>size 40 90\n' 'has 40 90=>end\n' -- $podman exec -it term sh /listener; echo "exec $?"
            talk '=>two\n' 'heard two=>end\n' -- $podman attach term; echo "attach $?"; p wait term
            p run -d --name writes busybox sh -c 'for i in 1 2 3; do echo $i; sleep 0.3; done' > /dev/null; timeout 120 $podman logs -f writes
            note p; p rm -fa -t 0 > /dev/null; left
            """#)
        #expect(
            outcome.output == "detached 0\nexec 5\nattach 0\n5\n1\n2\n3\n", "\(outcome.error)")
    }
}
