import Testing

extension ManagersTests {
    /// A service's container: files to fetch, and a checksum of uploads.
    private static let service = #"""
        mkdir -p /srv/cgi-bin; cd /srv; dd if=/dev/urandom of=big bs=1M count=16 2> /dev/null; md5sum < big > sum; echo ok > small
        printf '#!/bin/sh\necho; md5sum\n' > cgi-bin/sum; chmod +x cgi-bin/sum; echo ready; exec httpd -f -h /srv
        """#

    /// The service's answers to a client without rights. $six and $four are its addresses.
    private static let client = #"""
        cat /proc/sys/net/ipv4/ping_group_range | tr "\t" " "; wget -qO- http://[$six]/small; wget -qO- http://web/small
        [ "$(wget -qO- http://$four/big | md5sum)" = "$(wget -qO- http://$four/sum)" ] && echo down
        dd if=/dev/urandom of=/tmp/up bs=1M count=8 2> /dev/null; [ "$(wget -qO- --post-file /tmp/up http://$four/cgi-bin/sum)" = "$(md5sum < /tmp/up)" ] && echo up
        perl -MSocket -e "socket(S, PF_INET, SOCK_DGRAM, 1) && send(S, pack(q(CCnnn), 8, 0, 0, 1, 1), 0, sockaddr_in(0, inet_aton(q($four)))) && recv(S, \$b, 99, 0);
            print ord(\$b) == 0 && length(\$b) ? qq(pong\n) : qq(\$!\n)"
        perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(q(/run/host.sock)) || die $!; print $s "hi\n"; $s->flush; print <$s>'
        """#

    /// Files of the host for a client that needs more than busybox.
    private static let tools =
        "-v /lib:/lib:ro -v /lib64:/lib64:ro -v /usr:/usr:ro --tmpfs /tmp:mode=1777 -v $PWD/host.sock:/run/host.sock"

    private static let host = #"""
        printf '%s' "$service" > service; printf '%s' "$client" > client
        cat > host.py <<X
        import os, socket
        listener = socket.socket(socket.AF_UNIX); listener.bind("host.sock"); os.chmod("host.sock", 0o666); listener.listen()
        peer, _ = listener.accept(); peer.sendall(b"host heard " + peer.recv(99)); peer.close()
        X
        python3 host.py & for i in $(seq 400); do [ -S host.sock ] && break; sleep 0.1; done
        cat > short.py <<X
        import sys, urllib.request
        print(sum(urllib.request.urlopen(sys.argv[1], None, 60).read() == b"ok\n" for _ in range(200)))
        X
        # What the manager gave the service: another run may have had the first ones.
        addresses() { $1 inspect -f '-e six={{.NetworkSettings.Networks.six.GlobalIPv6Address}} -e four={{.NetworkSettings.Networks.six.IPAddress}}' web; }
        """#

    private var prepared: String {
        "service='\(Self.quoted(Self.service))' client='\(Self.quoted(Self.client))'\n\(Self.host)"
    }
    private static func quoted(_ text: String) -> String {
        text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#)
    }

    @Test(
        "Docker: both families of addresses, large transfers both ways, short connections, ping without rights, a socket of the host"
    )
    func dockerNetwork() throws {
        let outcome = try withDocker(
            #"""
            \#(prepared)
            d network create --ipv6 --subnet fd00:77::/64 --subnet 172.30.7.0/24 --opt com.docker.network.driver.mtu=1400 six > /dev/null
            d run -d --name web --runtime kata --network six -p 18085:80 -v $PWD/service:/service busybox sh /service > /dev/null
            for i in $(seq 400); do d logs web | grep -q ready && break; sleep 0.1; done
            run --network six --user 1000:1000 --cap-drop ALL \#(Self.tools) $(addresses d) -v $PWD/client:/client busybox sh /client
            inside python3 short.py http://127.0.0.1:18085/small; d exec web ip link show eth0 | grep -o 'mtu 1400'
            d network create other > /dev/null; d network connect other web; for i in $(seq 400); do d exec web ip link show eth1 > /dev/null 2>&1 && break; sleep 0.1; done
            d exec web ip addr show eth1 | grep -c 'inet 172'; d network disconnect other web; for i in $(seq 400); do d exec web ip link show eth1 > /dev/null 2>&1 || break; sleep 0.1; done
            d exec web ip link | grep -c 'eth[0-9]'; note d; d rm -f web > /dev/null; left
            """#)
        #expect(
            outcome.output
                == "0 2147483647\nok\nok\ndown\nup\npong\nhost heard hi\n200\nmtu 1400\n1\n1\n", "\(outcome.error)")
    }

    @Test("Podman: the same, and a container without a network")
    func podmanNetwork() throws {
        let outcome = try withPodman(
            #"""
            \#(prepared)
            p network create --ipv6 --subnet fd00:78::/64 --subnet 10.99.7.0/24 six > /dev/null 2>&1
            p run -d --name web --network six -p 18086:80 -v $PWD/service:/service busybox sh /service > /dev/null
            for i in $(seq 400); do p logs web | grep -q ready && break; sleep 0.1; done
            p run --rm --network six --user 1000:1000 --cap-drop ALL --sysctl net.ipv4.ping_group_range='0 2147483647' \#(Self.tools) \
                $(addresses p) -v $PWD/client:/client busybox sh /client
            inside python3 short.py http://127.0.0.1:18086/small
            p network create other > /dev/null; p network connect other web; for i in $(seq 400); do p exec web ip link show eth1 > /dev/null 2>&1 && break; sleep 0.1; done
            p exec web ip addr show eth1 | grep -c 'inet 10'; p network disconnect other web
            p run --rm --network none busybox ip -o link | cut -d : -f 2; note p; p rm -f -t 0 web > /dev/null; left
            """#)
        #expect(
            outcome.output == "0 2147483647\nok\nok\ndown\nup\npong\nhost heard hi\n200\n1\n lo\n", "\(outcome.error)")
    }
}
