const { appendFileSync } = require('fs');

exports.handler = async (event) => {
    let large = 0;
    for (const { kinesis } of event.Records) {
        const text = Buffer.from(kinesis.data, 'base64').toString();
        const [word, number] = text.split(' ');
        if (word === 'partial') return { batchItemFailures: [{ itemIdentifier: kinesis.sequenceNumber }] };
        if (word === 'raise') throw new Error('it cannot be handled');
        if (word === 'exit') process.exit(0);
        if (word === 'hang') await new Promise((resolve) => setTimeout(resolve, 1000000));
        if (word === 'large') large = Number(number);
        appendFileSync(process.env.JOURNAL, `${process.pid} ${text}\n`);
    }
    return { batchItemFailures: [], large: 'x'.repeat(large) };
};
